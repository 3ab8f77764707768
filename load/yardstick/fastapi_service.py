"""The yardstick of `local` in `just bench`, not a part of the system: three of its endpoints as one writes them with FastAPI.

A profile out of a cache, a page of 50 items for a session, and the creation of an item, gzipped, with CORS. With DATABASE_URL
it does what `local` does: session, membership and organization in one consistent read of the same table, an item and its
organization's counter in one transaction (aiobotocore); profiles and pages stay in the process's memory, as in `local`.
Without, sessions and items are dictionaries too: what a database costs is not in it.
"""
import base64, hashlib, os, time, uuid
from contextlib import asynccontextmanager
from datetime import datetime, timezone

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from pydantic import BaseModel

TABLE = "citizen-app"
NOW = datetime(2026, 11, 1, tzinfo=timezone.utc)


class Profile(BaseModel):
    id: str
    name: str
    created_at: datetime


class NewItem(BaseModel):
    name: str
    description: str | None = None


class Item(NewItem):
    id: str
    org_id: str
    created_at: datetime
    updated_at: datetime
    version: int


class Page(BaseModel):
    data: list[Item]
    next_cursor: str | None


database = None


@asynccontextmanager
async def lifespan(_: FastAPI):
    global database
    if not (url := os.environ.get("DATABASE_URL")):
        yield
        return
    async with get_session().create_client(
            "dynamodb", endpoint_url=url, region_name="us-east-1", aws_access_key_id="bench", aws_secret_access_key="bench",
            config=AioConfig(max_pool_connections=16)) as database:
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(GZipMiddleware, minimum_size=1000)
app.add_middleware(CORSMiddleware, allow_origins=["http://localhost:5173"], allow_credentials=True,
                   allow_methods=["*"], allow_headers=["*"])

PROFILES: dict[str, Profile] = {}
SESSIONS: dict[bytes, str] = {}
ITEMS = [Item(id=f"itm_{n:032x}", org_id="org_1", name=f"Item {n}", description="Of some importance.",
              created_at=NOW, updated_at=NOW, version=1) for n in range(50)]


async def org(authorization: str = Header()) -> str:
    """The caller's organization."""
    token = authorization.removeprefix("Bearer ")
    digest = hashlib.sha256(token.encode()).digest()
    ids = base64.urlsafe_b64decode(token.removeprefix("cit_") + "=")
    user_id, org_id = f"usr_{ids[:16].hex()}", f"org_{ids[16:32].hex()}"
    if database is None:
        return SESSIONS.setdefault(digest, org_id)
    session = f"SESSION#{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
    keys = [(f"USER#{user_id}", session), (f"USER#{user_id}", f"ORG#{org_id}"), (f"ORG#{org_id}", "ORG")]
    reply = await database.batch_get_item(RequestItems={TABLE: {
        "Keys": [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in keys], "ConsistentRead": True}})
    found = {record["sk"]["S"]: record for record in reply["Responses"][TABLE]}
    if len(found) < len(keys) or int(found[session]["expires_at"]["N"]) < time.time() * 1000:
        raise HTTPException(401)
    return org_id


@app.get("/users/{user_id}", response_model=Profile)
async def get_user(user_id: str) -> Profile:
    profile = PROFILES.get(user_id)
    if profile is None:
        profile = PROFILES[user_id] = Profile(id=user_id, name="Ada Lovelace", created_at=NOW)
    return profile


@app.get("/items", response_model=Page)
async def list_items(org_id: str = Depends(org)) -> Page:
    return Page(data=ITEMS, next_cursor=None)


@app.post("/items", response_model=Item, status_code=201)
async def create_item(new: NewItem, org_id: str = Depends(org)) -> Item:
    now = datetime.now(timezone.utc)
    item = Item(id=f"itm_{uuid.uuid4().hex}", org_id=org_id, created_at=now, updated_at=now, version=1, **new.model_dump())
    if database is not None:
        await database.transact_write_items(TransactItems=[
            {"Update": {"TableName": TABLE, "Key": {"pk": {"S": f"ORG#{org_id}"}, "sk": {"S": "ORG"}},
                        "UpdateExpression": "ADD item_count :one", "ConditionExpression": "item_count < :limit",
                        "ExpressionAttributeValues": {":one": {"N": "1"}, ":limit": {"N": "1000000"}}}},
            {"Put": {"TableName": TABLE, "ConditionExpression": "attribute_not_exists(pk)", "Item": {
                "pk": {"S": f"ITEMS#{org_id}"}, "sk": {"S": item.id}, "name": {"S": item.name},
                "description": {"S": item.description or ""}, "org_id": {"S": org_id},
                "created_at": {"S": now.isoformat()}, "version": {"N": "1"}}}}])
    return item
