//! Processes that end with their test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A process that is killed when it is dropped.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A process that is told lines and says some.
pub struct Talking {
    pub process: Running,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Talking {
    pub fn start(command: &mut Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let input = process.stdin.take().expect("piped");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        Self { process: Running(process), input, output }
    }

    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it lives");
    }

    /// Waits until a line ends so; false where none does.
    pub fn says(&mut self, wanted: &str) -> bool {
        self.output.by_ref().lines().map_while(Result::ok).any(|line| line.ends_with(wanted))
    }
}
