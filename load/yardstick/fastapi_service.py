"""The yardstick of `local` in `just bench`, not a part of the system: two of its endpoints as one writes them with FastAPI.

A profile out of a cache, and a page of 50 items for a session, gzipped, both with CORS. Cache, sessions and items are
dictionaries in the process: what a cache and a database cost is not in it.
"""
import hashlib
from datetime import datetime, timezone

from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from pydantic import BaseModel

NOW = datetime(2026, 11, 1, tzinfo=timezone.utc)


class Profile(BaseModel):
    id: str
    name: str
    created_at: datetime


class Item(BaseModel):
    id: str
    org_id: str
    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime
    version: int


class Page(BaseModel):
    data: list[Item]
    next_cursor: str | None


app = FastAPI()
app.add_middleware(GZipMiddleware, minimum_size=1000)
app.add_middleware(CORSMiddleware, allow_origins=["http://localhost:5173"], allow_credentials=True,
                   allow_methods=["*"], allow_headers=["*"])

PROFILES: dict[str, Profile] = {}
SESSIONS = {hashlib.sha256(b"token").hexdigest(): "org_1"}
ITEMS = {"org_1": [Item(id=f"itm_{n:032x}", org_id="org_1", name=f"Item {n}", description="Of some importance.",
                        created_at=NOW, updated_at=NOW, version=1) for n in range(50)]}


async def org(authorization: str = Header()) -> str:
    found = SESSIONS.get(hashlib.sha256(authorization.removeprefix("Bearer ").encode()).hexdigest())
    if found is None:
        raise HTTPException(401)
    return found


@app.get("/users/{user_id}", response_model=Profile)
async def get_user(user_id: str) -> Profile:
    profile = PROFILES.get(user_id)
    if profile is None:
        profile = PROFILES[user_id] = Profile(id=user_id, name="Ada Lovelace", created_at=NOW)
    return profile


@app.get("/items", response_model=Page)
async def list_items(org_id: str = Depends(org)) -> Page:
    return Page(data=ITEMS[org_id][:50], next_cursor=None)
