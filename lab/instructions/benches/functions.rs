//! Runs the deployed binaries under callgrind. `lab/bench/instructions.py` serves them and compares the counts.

use gungraun::{
    Bench, BinaryBenchmark, BinaryBenchmarkConfig, BinaryBenchmarkGroup, Callgrind, Command, ExitWith, Stdio,
    binary_benchmark_group, main,
};
use std::path::Path;

fn add_runs(group: &mut BinaryBenchmarkGroup) {
    let Some(plan) = std::env::var_os("INSTRUCTIONS_PLAN") else { return };
    let runs = instructions::read(Path::new(&plan)).expect("instructions.py has written the plan");
    let mut benchmark = BinaryBenchmark::new("function");
    for run in runs {
        let mut command = Command::new(run.program);
        // Without its Runtime API, which closes the connection after the last reply, a function ends with an error.
        command.envs(run.environment).exit_with(ExitWith::Failure).stdout(Stdio::File(run.output));
        benchmark.bench(Bench::new(run.id).command(command));
    }
    group.binary_benchmark(benchmark);
}

binary_benchmark_group!(name = functions, benchmarks = |group: &mut BinaryBenchmarkGroup| add_runs(group));

main!(
    config = BinaryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    binary_benchmark_groups = functions
);
