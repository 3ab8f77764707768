"""What functions work with while they are measured: the local system's database and queues, a Redis, a TLS front."""
import contextlib, json, os, pathlib, socket, ssl, subprocess, sys, tempfile, threading, urllib.request, uuid
from runtime_api import ORIGIN, ROOT, TABLE


class System:
    """All of it, started and ended together: `with System(local_binary) as system`."""

    def __init__(self, local):
        self.local_binary, self.started = local, []

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        try:
            self.local, lines = self.start([str(self.local_binary), "--ephemeral", "--port", "0"], {
                "api": "API answers at ", "database": "database answers at ", "queues": "queues answer at ", "mail": "mail service answers at "}, cwd=ROOT,
                env=os.environ | {"LOG_LEVEL": "error"})
            self.api, self.database, self.queues, self.mail = (lines[name] for name in ("api", "database", "queues", "mail"))
            self.redis_port = free_port()
            self.start(["redis-server", "--bind", "127.0.0.1", "--port", str(self.redis_port), "--save", "",
                        "--dir", self.folder.name], {"ready": "Ready to accept connections"})
        except BaseException:
            self.__exit__()
            raise
        # What the functions find in their environment.
        self.plain = {
            "CACHE_URL": f"redis://127.0.0.1:{self.redis_port}/", "AWS_ENDPOINT_URL_DYNAMODB": self.database,
            "AWS_ENDPOINT_URL_SQS": self.queues, "ANALYSES_QUEUE_URL": f"{self.queues}/000000000000/AnalysesQueue",
            "EMAILS_QUEUE_URL": f"{self.queues}/000000000000/EmailsQueue",
            "ACCOUNT_MAIL_QUEUE_URL": f"{self.queues}/000000000000/AccountMailQueue", "APP_URL": ORIGIN,
            "ACCOUNT_MAILS_PER_DAY": "1000", "ACCOUNT_MAIL_BOUNCE_PERCENT": "4", "INVITATIONS_PER_DAY": "1000000",
            "ANALYSIS_PROVIDER": "builtin", "MAIL_FROM": "no-reply@citizen.example",
            "AWS_ENDPOINT_URL_SESV2": self.mail,
            # All events come from one address.
            "SESSION_REQUESTS_PER_SECOND": "1000000000", "ORG_REQUESTS_PER_SECOND": "1000000000,1000000000,1000000000",
            "EMAILS_PER_DAY": "1000000000", "DOLLARS_PER_DAY": "1000000", "CAP_SHARES": "100,100,100",
            "EMAILS_PER_SECOND": "1000", "ANALYSES_PER_MINUTE": "60000", "WAITING_PLACES": "20",
            "FAILED_LOG_INS_PER_MINUTE": "1000000", "REGISTRATIONS_PER_MINUTE": "1000000", "REGISTRATIONS_PER_DAY": "1000000",
            "RESET_LINKS_PER_DAY": "1000000",
        }
        return self

    def __exit__(self, *_):
        for process in self.started:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.folder.cleanup()

    def start(self, command, ready, **options):
        """A process of which each text in `ready` has been printed, and the words that followed them."""
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
        self.started.append(process)
        found = {}
        for line in process.stdout:
            for name, text in ready.items():
                if text in line:
                    found[name] = (line.split(text, 1)[1].split() or [""])[0]
            if len(found) == len(ready):
                threading.Thread(target=lambda: [None for _ in process.stdout], daemon=True).start()
                return process, found
        sys.exit(f"{command[0]} did not start")

    def tls(self):
        """The environment of a function that reaches the database over TLS."""
        url, authority = tls_front(self.database, pathlib.Path(self.folder.name))
        return self.plain | {"AWS_ENDPOINT_URL_DYNAMODB": url, "AWS_CA_BUNDLE": authority}

    def forget_cache(self):
        """Empties the cache."""
        with socket.create_connection(("127.0.0.1", self.redis_port)) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            connection.recv(64)

    def call(self, method, path, body=None, token=None):
        """What the API replies, parsed."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        data = None if body is None else json.dumps(body).encode()
        with contextlib.closing(urllib.request.urlopen(
                urllib.request.Request(self.api + path, data, headers, method=method))) as reply:
            text = reply.read()
            return json.loads(text) if text else None

    def register(self, name, plan="enterprise"):
        """A new account, whose address is proven, with an organization: the session."""
        operate = lambda *words: subprocess.run([str(self.local_binary), *words, "--port", self.api.rsplit(":", 1)[1]], check=True,
                                                stdout=subprocess.PIPE).stdout
        session = json.loads(operate("account", "--email", f"{name}@example.com", "--password", "correct horse battery",
                                     "--name", name, "--org-name", name))
        operate("plan", "--org", session["org"]["id"], "--plan", plan)
        return session

    def members(self, org, count):
        """Ids of new users who are members of an organization, written straight into the table."""
        users = self.users(count)
        self.write([{
            "pk": {"S": pk}, "sk": {"S": sk}, "user_id": {"S": user}, "org_id": {"S": org}, "org_name": {"S": "bench"},
            "role": {"S": "member"}, "joined_at": {"N": "1795000000000"},
        } for user in users for pk, sk in ((f"USER#{user}", f"ORG#{org}"), (f"ORG#{org}", f"MEMBER#{user}"))])
        self.database_call("UpdateItem", {"TableName": TABLE, "Key": {"pk": {"S": f"ORG#{org}"}, "sk": {"S": "ORG"}},
                           "UpdateExpression": "ADD member_count :count", "ExpressionAttributeValues": {":count": {"N": str(count)}}})
        return users

    def example(self, function):
        """The function's event of the project's, as bytes."""
        return (ROOT / f"events/{function}.json").read_bytes()

    def queue(self, name):
        """The URL of a new queue that nothing reads."""
        return self.queues_call("CreateQueue", {"QueueName": name, "Attributes": {"VisibilityTimeout": "43200"}})["QueueUrl"]

    def messages(self, queue):
        """All messages of a queue, which it then keeps hidden, as event source mappings hand them to a function."""
        while received := self.queues_call("ReceiveMessage", {
                "QueueUrl": queue, "MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"]}).get("Messages"):
            for one in received:
                yield {"messageId": one["MessageId"], "receiptHandle": one["ReceiptHandle"], "body": one["Body"],
                       "attributes": one["Attributes"]}

    def queues_call(self, action, body):
        request = urllib.request.Request(self.queues, json.dumps(body).encode(), {
            "X-Amz-Target": f"AmazonSQS.{action}", "Content-Type": "application/x-amz-json-1.0"})
        with contextlib.closing(urllib.request.urlopen(request)) as reply:
            return json.load(reply)

    def write(self, records):
        """Records straight into the table."""
        for start in range(0, len(records), 25):
            puts = [{"PutRequest": {"Item": record}} for record in records[start:start + 25]]
            self.database_call("BatchWriteItem", {"RequestItems": {TABLE: puts}})

    def database_call(self, action, body):
        request = urllib.request.Request(self.database, json.dumps(body).encode(), {
            "X-Amz-Target": f"DynamoDB_20120810.{action}", "Content-Type": "application/x-amz-json-1.0",
            "Authorization": "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/dynamodb/aws4_request, "
                             "SignedHeaders=host, Signature=0", "X-Amz-Date": "20260101T000000Z"})
        urllib.request.urlopen(request).close()

    def users(self, count):
        """Ids of new users, written straight into the table: registering each would spend minutes on hashing passwords."""
        users = [f"usr_{uuid.uuid4().hex}" for _ in range(count)]
        self.write([{
            "pk": {"S": f"USER#{user}"}, "sk": {"S": "PROFILE"}, "user_id": {"S": user}, "name": {"S": "Ada Lovelace"},
            "email": {"S": f"{user}@example.com"}, "created_at": {"N": "1795000000000"}, "version": {"N": "1"},
        } for user in users])
        return users


def documented(function):
    """The statuses of success that the function's operation documents."""
    paths = json.loads((ROOT / "functions/docs/openapi.json").read_text())["paths"]
    operations = [operation for path in paths.values() for operation in path.values()]
    found = [one["responses"] for one in operations if one["operationId"] == function.replace("-", "_")]
    # What a queue or a schedule calls has no operation: the runtime's reply is 200.
    return tuple(int(status) for status in found[0] if status[0] == "2") if found else (200,)


def ask(function, parameters=None, token=None, body=None, query=None):
    """The event of a request of that function: its method and path are those of its event in `events/`."""
    like = json.loads((ROOT / f"events/{function}.json").read_text())
    return event(like["httpMethod"], like["resource"].format(**parameters or {}), parameters or None, token, body, query)


def event(method, path, parameters=None, token=None, body=None, query=None, headers=None):
    """An API Gateway (REST) event with such a request, as bytes."""
    headers = {"Accept": "application/json", "Host": "api.example.com", "Origin": ORIGIN, "User-Agent": "bench/1",
               "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Port": "443", "X-Forwarded-Proto": "https"} | (headers or {})
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if body is not None:
        headers["Content-Type"] = "application/json"
    base = json.loads((ROOT / "events" / "get-user.json").read_text())
    base |= {"httpMethod": method, "path": path, "pathParameters": parameters, "headers": headers,
             "multiValueHeaders": {name: [value] for name, value in headers.items()},
             "queryStringParameters": query,
             "multiValueQueryStringParameters": query and {name: [value] for name, value in query.items()},
             "body": None if body is None else json.dumps(body)}
    return json.dumps(base).encode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tls_front(target, folder):
    """A TLS server before the database, with RSA certificates as DynamoDB's endpoints have, and an authority of its own.
    Returns its URL and the authority's file."""
    openssl = lambda *words: subprocess.run(["openssl", *words], check=True, cwd=folder, stderr=subprocess.DEVNULL)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key",
            "-out", "ca.pem", "-days", "2", "-subj", "/CN=bench authority")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem",
            "-out", "request.pem", "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "names", "-out", "cert.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = target.removeprefix("http://").split(":")

    def copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            try:
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def serve():
        while True:
            plain, _ = listener.accept()
            try:
                client = context.wrap_socket(plain, server_side=True)
            except OSError:
                continue
            origin = socket.create_connection((host, int(port)))
            for pair in ((client, origin), (origin, client)):
                threading.Thread(target=copy, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return f"https://localhost:{listener.getsockname()[1]}", str(folder / "ca.pem")


