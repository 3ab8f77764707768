//! The program itself, as `cargo run` starts it: what it leaves behind, what it prints, and what it takes from its environment.
//! It is a process of its own, so that this links nothing of the system.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A running program. It ends with its test.
struct Program {
    process: Child,
    /// The lines that it prints, read at once: it never waits for a reader.
    lines: Receiver<String>,
    /// What it has printed.
    printed: String,
    url: String,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}

fn command(temporary: &Path) -> Command {
    command_of(Path::new(env!("CARGO_BIN_EXE_local")), temporary)
}

fn command_of(program: &Path, temporary: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--ephemeral", "--port", "0"]).env_clear().env("TMPDIR", temporary).current_dir(temporary);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stderr(Stdio::inherit()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let mut program = Self { process, lines, printed: String::new(), url: String::new() };
        program.url = program.line("API answers at ").rsplit(' ').next().unwrap().to_owned();
        program.line("Ctrl-C ends it.");
        program
    }

    /// The next line that it prints with `part` in it.
    fn line(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv();
            let line = line.unwrap_or_else(|_| panic!("it ended before {part:?}:\n{}", self.printed));
            self.printed.push_str(&line);
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Sends it a signal, and waits for its end.
    fn end(&mut self, signal: &str) -> ExitStatus {
        let sent = Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
        // Until it closes its output.
        self.printed.extend(self.lines.iter());
        self.process.wait().unwrap()
    }

    /// A whole reply, its head included, to a request on a connection of its own.
    fn call(&self, method: &str, path: &str, headers: &[&str], body: &str) -> String {
        let address = self.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let headers = headers.iter().map(|header| format!("{header}\r\n")).collect::<String>();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             {headers}Content-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    /// A new account, whose address is proven by an operator: the header of its session, and the whole reply.
    fn session(&self) -> (String, String) {
        let registered = self.call(
            "POST",
            "/auth/register",
            &[],
            r#"{"email":"ada@example.com","password":"correct horse battery","name":"Ada","org_name":"Engines"}"#,
        );
        let port = self.url.rsplit(':').next().unwrap();
        let proven = Command::new(env!("CARGO_BIN_EXE_local"))
            .args(["--port", port, "account", "--verified", "--email", "ada@example.com"])
            .env_clear()
            .output()
            .unwrap();
        assert!(proven.status.success(), "{proven:?}");
        (format!("Authorization: Bearer {}", member(&registered, "token")), registered)
    }

    #[expect(clippy::disallowed_methods, reason = "no runtime is here that it could block")]
    /// The job when it has ended.
    fn ended(&self, job: &str, session: &str) -> String {
        for _ in 0..600 {
            let reply = self.call("GET", &format!("/jobs/{job}"), &[session], "");
            if !["queued", "running"].contains(&member(&reply, "state")) {
                return reply;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{job} does not end");
    }
}

/// The text of the first member of this name in a reply's JSON.
fn member<'a>(reply: &'a str, name: &str) -> &'a str {
    let (_, rest) = reply.split_once(&format!(r#""{name}":""#)).unwrap_or_else(|| panic!("no {name} in {reply}"));
    rest.split('"').next().unwrap()
}

#[test]
fn an_ephemeral_system_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    for signal in ["-INT", "-TERM", "-HUP"] {
        let mut program = Program::start(&mut command(temporary.path()));
        let (session, _) = program.session();
        let email = r#"{"to":"ada@example.com","subject":"Hello","text":"The engine runs."}"#;
        let accepted = program.call("POST", "/send-email", &[&session], email);
        let job = member(&accepted, "job_id");
        assert_eq!(member(&program.ended(job, &session), "state"), "succeeded");
        let mail = program.call("GET", &format!("/_local/mail/{job}"), &[], "");
        assert!(mail.contains("The engine runs."), "{mail}");
        assert!(fs::read_dir(temporary.path()).unwrap().count() > 0, "it looks in the wrong folder");
        let status = program.end(signal);
        assert!(status.success(), "{signal}: {status}");
        let left: Vec<_> = fs::read_dir(temporary.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{signal} leaves {left:?}");
    }
}

/// An operator's addresses are judged as callers' are.
#[test]
fn operators_addresses_are_judged_by_the_same_rule() {
    let temporary = tempfile::tempdir().unwrap();
    let program = Program::start(&mut command(temporary.path()));
    let port = program.url.rsplit(':').next().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
        let ended = command.args(["--port", port]).args(arguments).env_clear().current_dir(temporary.path()).output();
        let ended = ended.unwrap();
        let said = [ended.stdout, ended.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
        (ended.status.success(), said)
    };
    let account = |email| run(&["account", "--email", email, "--password", "correct horse battery"]);
    for wrong in [
        "a@123.45.67.89",
        "a@ex_ample.com",
        "a@-x.com",
        "a@b",
        "no-at.example.com",
        "a b@example.com",
        "a@example.com, b@example.com",
    ] {
        for (succeeds, said) in [account(wrong), run(&["suppress", wrong])] {
            assert!(!succeeds && said.contains("must be an e-mail address"), "{wrong}: {said}");
        }
    }
    let (succeeds, said) = account("Ada@MÜNCHEN.example");
    assert!(succeeds && said.contains(r#""ada@xn--mnchen-3ya.example""#), "{said}");
    for arguments in [&["suppress", "Ada@MÜNCHEN.example"][..], &["suppress", "a@ex_ample.com", "--remove"]] {
        let (succeeds, said) = run(arguments);
        assert!(succeeds && said.contains("listed"), "{arguments:?}: {said}");
    }
}

#[test]
fn what_a_killed_system_leaves_goes_with_the_next_start() {
    let temporary = tempfile::tempdir().unwrap();
    let mut killed = Program::start(&mut command(temporary.path()));
    killed.end("-KILL");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
    let mut next = Program::start(&mut command(temporary.path()));
    next.end("-TERM");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn it_names_an_address_where_browsers_keep_its_cookie_and_logs_each_request_with_its_time() {
    let temporary = tempfile::tempdir().unwrap();
    let mut program = Program::start(&mut command(temporary.path()));
    // Chromium and Firefox take this host, and no other without TLS, for trustworthy enough for a `Secure` cookie.
    assert!(program.url.starts_with("http://localhost:"), "{}", program.url);
    assert!(!program.printed.contains("127.0.0.1:3000"));
    let (_, registered) = program.session();
    assert!(registered.starts_with("HTTP/1.1 201 "), "{registered}");
    let body = r#"{"email":"ada@example.com","password":"correct horse battery","session":"cookie"}"#;
    let origin = "Origin: http://localhost:5173";
    let session = program.call("POST", "/auth/login", &[origin], body);
    let (_, cookie) = session.split_once("set-cookie: __Host-session=").unwrap();
    let (cookie, _) = cookie.split_once("\r\n").unwrap();
    for attribute in ["; Secure", "; HttpOnly", "; Path=/", "; SameSite="] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Domain="), "{cookie}");
    assert!(session.contains("access-control-allow-origin: http://localhost:5173\r\n"), "{session}");
    // Both pages are of one site, whatever their ports, so the browser sends it back.
    let cookie = format!("Cookie: __Host-session={}", cookie.split(';').next().unwrap());
    let me = program.call("GET", "/me", &[origin, &cookie], "");
    assert!(me.starts_with("HTTP/1.1 200 "), "{me}");
    let line = program.line(r#""path":"/me""#);
    let time = member(&line, "timestamp");
    assert!(line.starts_with(r#"{"timestamp":""#) && time.len() == 24 && time.ends_with('Z'), "{line}");
    assert_eq!((member(&line, "method"), member(&line, "function")), ("GET", "get-me"));
    // The job that a request leaves to a worker has its trace.
    let id = member(&line, "request_id").replace('-', "");
    assert_eq!(member(&line, "trace_id"), format!("Root=1-{}-{}", &id[..8], &id[8..]));
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793";
    program.call("GET", "/me", &[&format!("X-Amzn-Trace-Id: {trace};Name=Ada")], "");
    assert_eq!(member(&program.line(r#""path":"/me""#), "trace_id"), trace);
}

/// Also after `cargo` has put another one into its place.
#[test]
fn it_says_where_its_program_is() {
    let temporary = tempfile::tempdir().unwrap();
    let built = Path::new(env!("CARGO_BIN_EXE_local"));
    // Beside it, for a link stays on its file system.
    let folder = tempfile::tempdir_in(built.parent().unwrap()).unwrap();
    let path = folder.path().canonicalize().unwrap().join("local");
    fs::hard_link(built, &path).unwrap();
    let program = Program::start(&mut command_of(&path, temporary.path()));
    fs::remove_file(&path).unwrap();
    let reply = program.call("GET", "/_local/program", &[], "");
    assert_eq!(reply.rsplit("\r\n").next().unwrap(), path.to_str().unwrap());
}

#[test]
fn an_operator_is_told_why_a_command_failed() {
    let temporary = tempfile::tempdir().unwrap();
    let program = Program::start(&mut command(temporary.path()));
    let (_, registered) = program.session();
    let (_, org) = registered.split_once(r#""org":{"id":""#).unwrap();
    let endpoints = program.call("GET", "/_local/endpoints", &[], "");
    let variables = ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    let failed = Command::new(env!("CARGO_BIN_EXE_local"))
        .args(["plan", "--table", "nope", "--org", org.split('"').next().unwrap(), "--plan", "pro"])
        .env_clear()
        .envs(variables.map(|name| (name, member(&endpoints, name))))
        .output()
        .unwrap();
    let said = String::from_utf8(failed.stderr).unwrap();
    assert!(!failed.status.success() && said.contains("ResourceNotFoundException"), "{said}");
}

/// As in the functions' own environment: the template's value, or none, counts.
#[test]
fn an_empty_variable_is_none() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = command(temporary.path());
    let empty = [
        "LOG_LEVEL",
        "CACHE_URL",
        "REGISTRATIONS_PER_MINUTE",
        "REGISTRATIONS_PER_DAY",
        "EMAILS_PER_DAY",
        "CAP_SHARES",
        "MAIL_FROM",
        "AWS_ENDPOINT_URL_SESV2",
        "ANTHROPIC_SECRET_ID",
    ];
    command.envs(empty.map(|name| (name, " "))).env("EMAILS_PER_DAY", "");
    command.env("ANALYSIS_PROVIDER", "anthropic").env("ANTHROPIC_API_KEY", "sk-ant-key");
    let mut program = Program::start(&mut command);
    let (session, registered) = program.session();
    assert!(registered.starts_with("HTTP/1.1 201 "), "{registered}");
    let email = r#"{"to":"ada@example.com","subject":"Hello","text":"The engine runs."}"#;
    let accepted = program.call("POST", "/send-email", &[&session], email);
    let job = program.ended(member(&accepted, "job_id"), &session);
    assert_eq!(member(&job, "state"), "succeeded", "{job}");
    program.end("-TERM");
    assert!(program.printed.contains(r#""path":"/send-email""#), "it logs nothing:\n{}", program.printed);
}

/// The model provider, for one call: answers it as `claude` would, and gives its head and body.
fn provider() -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let called = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut call = Vec::new();
        let mut part = [0; 4096];
        loop {
            let length = stream.read(&mut part).unwrap();
            call.extend_from_slice(&part[..length]);
            let text = String::from_utf8_lossy(&call).to_lowercase();
            if let Some((head, body)) = text.split_once("\r\n\r\n")
                && let Some((_, length)) = head.split_once("content-length: ")
                && body.len() >= length.lines().next().unwrap().parse().unwrap()
            {
                break;
            }
            assert!(length > 0, "{text}");
        }
        let body = r#"{"id":"msg","type":"message","role":"assistant","model":"m","stop_reason":"tool_use","content":
            [{"type":"tool_use","id":"t","name":"record_analysis","input":{"language":"en","summary":"A text.",
            "key_phrases":["text"],"sentiment":{"label":"neutral","score":0.0}}}],
            "usage":{"input_tokens":1000,"output_tokens":100}}"#;
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
            .unwrap();
        String::from_utf8(call).unwrap()
    });
    (url, called)
}

#[test]
fn it_takes_the_model_providers_key_from_its_environment_and_shows_it_nowhere() {
    const KEY: &str = "sk-ant-very-secret";
    let temporary = tempfile::tempdir().unwrap();
    let (url, called) = provider();
    let mut program = Program::start(
        command(temporary.path())
            .env("ANALYSIS_PROVIDER", "anthropic")
            .env("ANTHROPIC_API_KEY", KEY)
            .env("ANTHROPIC_BASE_URL", url)
            .env("LOG_LEVEL", "trace"),
    );
    let (session, registered) = program.session();
    let (_, org) = registered.split_once(r#""org":{"id":""#).unwrap();
    let port = program.url.rsplit(':').next().unwrap();
    // As the walkthrough does it.
    let program_path = program.call("GET", "/_local/program", &[], "");
    let given = Command::new(program_path.rsplit("\r\n").next().unwrap())
        .args(["plan", "--port", port, "--org", org.split('"').next().unwrap(), "--plan", "pro"])
        .output()
        .unwrap();
    assert!(given.status.success(), "{given:?}");
    let body = r#"{"text":"The engine runs.","model":"claude-sonnet-4-0"}"#;
    let accepted = program.call("POST", "/analyze", &[&session], body);
    assert!(accepted.starts_with("HTTP/1.1 202 "), "{accepted}");
    let job = program.ended(member(&accepted, "id"), &session);
    assert_eq!(member(&job, "state"), "succeeded", "{job}");
    assert!(
        called.join().unwrap().contains(&format!("x-api-key: {KEY}\r\n")),
        "the provider was called without the key"
    );
    let says =
        ["/_local/endpoints", "/_local/figures", "/health?deep=1"].map(|path| program.call("GET", path, &[], ""));
    program.end("-TERM");
    assert!(program.printed.contains("GetSecretValue"), "the log is not as fine as it can be");
    for text in [&program.printed, &says.concat(), &job] {
        assert!(!text.contains(KEY), "{text}");
    }
}

#[test]
fn a_provider_without_its_key_is_told_by_the_variables_name() {
    let temporary = tempfile::tempdir().unwrap();
    for key in [None, Some(""), Some("a key")] {
        let mut command = command(temporary.path());
        command.env("ANALYSIS_PROVIDER", "anthropic").envs(key.map(|key| ("ANTHROPIC_API_KEY", key)));
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("ANTHROPIC_API_KEY"), "{said}");
        assert!(key.is_none_or(|key| key.is_empty() || !said.contains(key)), "{said}");
    }
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}
