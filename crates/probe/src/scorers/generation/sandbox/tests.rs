use super::*;
use rayon::prelude::*;

use crate::scorers::generation::sandbox::{ProgramOutcome, Sandbox, SandboxLimits};

/// A sandbox with a short time limit. If a sandbox is impossible, the test is recorded as skipped.
fn sandbox() -> Option<Sandbox> {
    let limits = SandboxLimits {
        seconds: 2,
        memory_bytes: 256 << 20,
        file_bytes: 1 << 20,
        ..SandboxLimits::default()
    };
    match Sandbox::new(None) {
        Ok(sandbox) => Some(sandbox.with_limits(limits)),
        Err(reason) => {
            fineline_testing::skip(&reason);
            None
        }
    }
}

fn outcome(program: &str) -> Option<ProgramOutcome> {
    Some(sandbox()?.run(program).unwrap())
}

#[track_caller]
fn assert_outcome(program: &str, expected: ProgramOutcome) {
    if let Some(found) = outcome(program) {
        assert_eq!(found, expected, "{program}");
    }
}

#[test]
fn programs_that_come_to_their_end_pass() {
    assert_outcome("def add(a, b):\n    return a + b\n\nassert add(2, 3) == 5", ProgramOutcome::Passed);
    assert_outcome(
        "import math, collections, heapq, re\nprint('四十二')\nassert math.sqrt(4) == 2",
        ProgramOutcome::Passed,
    );
    assert_outcome("open('x', 'w').write('y')\nassert open('x').read() == 'y'", ProgramOutcome::Passed);
}

#[test]
fn programs_that_fail_do_not() {
    assert_outcome("assert 1 == 2", ProgramOutcome::Failed);
    assert_outcome("def f(:", ProgramOutcome::Failed);
    assert_outcome("import antigravity_of_no_kind", ProgramOutcome::Failed);
}

#[test]
fn an_early_end_is_no_pass() {
    for program in [
        "exit(0)",
        "import os\nos._exit(0)",
        "print('passed')\nraise SystemExit(0)",
        "import os\nos.close(1)",
    ] {
        assert_outcome(program, ProgramOutcome::Failed);
    }
}

#[test]
fn time_is_limited() {
    assert_outcome("import time\ntime.sleep(60)", ProgramOutcome::TimedOut);
    let busy = outcome("while True: pass");
    assert!(
        busy.is_none_or(|outcome| outcome != ProgramOutcome::Passed),
        "the limit of CPU time may come first"
    );
    assert_outcome(
        "import signal, time\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n    except \
         (OSError, ValueError): pass\ntime.sleep(60)",
        ProgramOutcome::TimedOut,
    );
}

#[test]
fn memory_files_and_processes_are_limited() {
    assert_outcome("x = bytearray(1 << 30)", ProgramOutcome::Failed);
    assert_outcome("open('x', 'wb').write(bytes(2 << 20))", ProgramOutcome::Failed);
    assert_outcome(
        "try:\n    for i in range(100):\n        open(str(i), 'wb').write(bytes(1 << 19))\nexcept OSError: \
         pass\nelse: raise Exception",
        ProgramOutcome::Passed,
    );
    assert_outcome(
        "import os\ncount = 0\ntry:\n    for i in range(100):\n        if os.fork() == 0:\n            \
         import time; time.sleep(60)\n        count += 1\nexcept OSError: pass\nassert 0 < count < 20, count",
        ProgramOutcome::Passed,
    );
    let bomb = outcome("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass");
    assert!(bomb.is_none_or(|outcome| outcome != ProgramOutcome::Passed));
    assert_outcome("files = [open('/dev/null') for i in range(100)]", ProgramOutcome::Failed);
}

#[test]
fn there_is_no_network() {
    for address in ["('8.8.8.8', 53)", "('127.0.0.1', 22)"] {
        let program = format!(
            "import socket\ns = socket.socket()\ns.settimeout(1)\ntry: s.connect({address})\nexcept \
             OSError: pass\nelse: raise Exception"
        );
        assert_outcome(&program, ProgramOutcome::Passed);
    }
    // Servers of this machine are unreachable too.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_outcome(
        &format!("import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)"),
        ProgramOutcome::Failed,
    );
}

#[test]
fn files_of_the_machine_are_out_of_reach() {
    for path in ["/etc/passwd", "/etc/shadow", "/proc/1/environ", "/etc/hostname", env!("CARGO_MANIFEST_DIR")]
    {
        assert_outcome(&format!("import os\nassert not os.path.exists('{path}')"), ProgramOutcome::Passed);
    }
    let secret = tempfile::NamedTempFile::new().unwrap();
    assert_outcome(&format!("open({:?})", secret.path()), ProgramOutcome::Failed);
    for path in ["/usr/x", "/usr/bin/x", "/dev/x"] {
        let program = format!("try: open('{path}', 'w')\nexcept OSError: pass\nelse: raise Exception");
        // For an ordinary user, the root is its own in-memory file system, which vanishes with the program.
        if !path.starts_with("/dev") || sandbox().is_some_and(|sandbox| sandbox.is_root) {
            assert_outcome(&program, ProgramOutcome::Passed);
        }
    }
    assert_outcome(
        "import os\nassert dict(os.environ).keys() <= {'PYTHONHASHSEED', 'LC_CTYPE'}",
        ProgramOutcome::Passed,
    );
}

#[test]
fn nobody_else_can_be_killed() {
    assert_outcome("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)", ProgramOutcome::Failed);
    let own = std::process::id();
    assert_outcome(&format!("import os\nos.kill({own}, 9)"), ProgramOutcome::Failed);
    assert_outcome("import os\nos.kill(-1, 9)", ProgramOutcome::Failed);
}

#[test]
fn children_do_not_outlive_a_program() {
    let Some(sandbox) = sandbox() else { return };
    let mark = format!("sleeper{}", std::process::id());
    let program = format!(
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        \
         os.execv('/usr/bin/sleep', ['{mark}', '60'])\n    os._exit(0)\ntime.sleep(0.2)"
    );
    assert_eq!(sandbox.run(&program).unwrap(), ProgramOutcome::Passed);
    let runs = |entry: std::io::Result<fs::DirEntry>| {
        let command = fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        command.starts_with(mark.as_bytes())
    };
    std::thread::sleep(Duration::from_millis(100));
    assert!(!fs::read_dir("/proc").unwrap().any(runs));
}

#[test]
fn output_is_not_kept() {
    assert_outcome("print('x' * (64 << 20))", ProgramOutcome::Passed);
    let endless = outcome("while True: print('x' * 10000)");
    assert!(endless.is_none_or(|outcome| outcome != ProgramOutcome::Passed));
    assert_outcome("input()", ProgramOutcome::Failed);
}

#[test]
fn runs_beside_each_other_give_the_same() {
    let Some(sandbox) = sandbox() else { return };
    let run =
        |number: usize| sandbox.run(&format!("assert {number} % 3\nassert hash('x') == hash('x')")).unwrap();
    let outcomes: Vec<ProgramOutcome> = (0..12).into_par_iter().map(run).collect();
    assert!(
        outcomes
            .iter()
            .enumerate()
            .all(|(number, outcome)| (number % 3 > 0) == (*outcome == ProgramOutcome::Passed))
    );
    assert_eq!(fs::read_dir(sandbox.mount_point.path()).unwrap().count(), 0, "nothing is left");
}

#[test]
fn what_is_no_python_is_named() {
    let error = Sandbox::new(Some(Path::new("no-such-python"))).unwrap_err();
    assert!(error.contains("no-such-python"), "{error}");
    let error = Sandbox::new(Some(Path::new("true"))).unwrap_err();
    assert_eq!(error, "`true` is not Python 3");
}

/// The reference solutions of `HumanEval` and of some problems of MBPP, in the form in which a model's
/// answers are run.
#[test]
fn solutions_of_people_pass() {
    let Some(eval) = fineline_testing::materials("eval") else { return };
    let catalog = crate::Catalog { data_dirs: vec![eval.clone()], ..crate::Catalog::default() };
    let Some(_) = sandbox() else { return };
    let sandbox = Sandbox::new(None).unwrap();
    for (name, key, count) in [("humaneval", "canonical_solution", 164), ("mbpp", "code", 60)] {
        let path = format!("{}/../../configs/probes/tasks/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let task = catalog.tasks(&path).unwrap().remove(0);
        let data = if name == "mbpp" { "mbpp/mbpp.jsonl" } else { "humaneval/HumanEval.jsonl.gz" };
        let records = crate::records::read::read_records(&eval.join(data)).unwrap();
        let failed: Vec<usize> = (0..count)
            .into_par_iter()
            .filter(|&item| {
                let solution = records[item].value[key].as_str().unwrap();
                sandbox.run(&task.items[item].with_program(solution)).unwrap() != ProgramOutcome::Passed
            })
            .collect();
        assert_eq!(failed, Vec::<usize>::new(), "{name}");
    }
}
