//! Metrics of the user's: commands that print a number about a model.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use anyhow::{Context, anyhow, bail, ensure};
use regex::Regex;

use crate::ir::Model;
use crate::pass::Metrics;
use crate::recipe::{MODEL, Metric};

/// The metrics of a recipe.
pub(super) struct Commands<'r>(pub &'r BTreeMap<String, Metric>);

impl Metrics for Commands<'_> {
    fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    fn larger_is_better(&self, name: &str) -> bool {
        self.0.get(name).is_none_or(|metric| metric.larger_is_better)
    }

    fn measure(&self, name: &str, model: &Model) -> anyhow::Result<f64> {
        let metric = self.0.get(name).ok_or_else(|| anyhow!("there is no metric `{name}`"))?;
        let file = Written::new(model).context("writing the model for a metric")?;
        run(metric, &file.path).with_context(|| format!("metric `{name}`"))
    }
}

/// A model in a directory of its own, which goes with it.
struct Written {
    dir: PathBuf,
    path: PathBuf,
}

impl Written {
    fn new(model: &Model) -> anyhow::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let parent = std::env::temp_dir();
        let dir = loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let dir = parent.join(format!("onnxpress-{}-{number}", std::process::id()));
            match fs::create_dir(&dir) {
                Ok(()) => break dir,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => bail!("cannot make the directory `{}`: {error}", dir.display()),
            }
        };
        let written = Self { path: dir.join("model.onnx"), dir };
        crate::onnx::save(model.check()?, &written.path, &crate::onnx::SaveOptions::default())?;
        Ok(written)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // What is left behind is in the directory for what may be.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Runs a command on a model, and reads its number.
fn run(metric: &Metric, model: &Path) -> anyhow::Result<f64> {
    let words: Vec<String> =
        metric.command.iter().map(|word| word.replace(MODEL, &model.to_string_lossy())).collect();
    let (program, arguments) = words.split_first().ok_or_else(|| anyhow!("the command is empty"))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if !metric.dir.as_os_str().is_empty() {
        command.current_dir(&metric.dir);
    }
    let mut child = command.spawn().map_err(|error| anyhow!("cannot run `{program}`: {error}"))?;
    let (out, err) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let deadline = Instant::now() + Duration::from_secs(metric.timeout);
    let Some(status) = wait(&mut child, deadline)? else {
        bail!("`{program}` took longer than {} s (`timeout` of the metric)", metric.timeout);
    };
    // A process that the command left behind may hold the pipes open: what came until then counts.
    let said = |from: Receiver<Vec<u8>>| {
        let left = deadline.saturating_duration_since(Instant::now()).min(GRACE);
        String::from_utf8_lossy(&from.recv_timeout(left).unwrap_or_default()).into_owned()
    };
    let (out, err) = (said(out), said(err));
    ensure!(status.success(), "`{program}` failed ({}){}", code(status), last_line(&err));
    number(&out, metric.parse.as_deref()).map_err(|why| anyhow!("`{program}` {why}{}", last_line(&err)))
}

/// How long output is waited for after a command has ended.
const GRACE: Duration = Duration::from_secs(5);

/// Reads all that comes, beside the command: a full pipe would stop it.
fn reader(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came before an error counts.
            let _ = pipe.read_to_end(&mut all);
        }
        // Nobody listens any more where the command took too long.
        let _ = sender.send(all);
    });
    receiver
}

/// Waits for a command; ends it and says `None` where it takes too long.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

fn code(status: ExitStatus) -> String {
    status.code().map_or_else(|| "ended by a signal".to_owned(), |code| format!("exit code {code}"))
}

/// The last thing that a command complained of, as the end of a message.
fn last_line(err: &str) -> String {
    let last = err.lines().rev().map(str::trim).find(|line| !line.is_empty());
    last.map_or_else(String::new, |line| format!(": {}", line.chars().take(200).collect::<String>()))
}

/// The number in what a command printed; or why there is none.
fn number(out: &str, parse: Option<&str>) -> Result<f64, String> {
    const NUMBER: &str = r"((?:[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)|(?i:\b[+-]?nan\b|[+-]?\binf(?:inity)?\b))";
    let regex = Regex::new(parse.unwrap_or(NUMBER)).map_err(|e| e.to_string())?;
    let found = regex.captures_iter(out).filter_map(|found| found.get(1)).last();
    let text = match (found, parse) {
        (Some(found), _) => found.as_str().trim(),
        (None, None) => return Err("printed no number".to_owned()),
        (None, Some(parse)) => return Err(format!("printed nothing that `{parse}` matches")),
    };
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(value) => Err(format!("printed {value}, which nothing can be compared with")),
        Err(_) => {
            let text: String = text.chars().take(60).collect();
            Err(format!("printed `{text}` where the number should be"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_counts_or_what_the_pattern_says() {
        assert_eq!(number("epoch 3\ntop1: 0.9428 (2500 images)", None), Ok(2500.0));
        assert_eq!(number("epoch 3\ntop1: 0.9428 (2500 images)", Some(r"top1: ([\d.]+)")), Ok(0.9428));
        assert_eq!(number("a 1\na 2\n", Some(r"a (\d)")), Ok(2.0), "the last match");
        assert_eq!(number("loss=-1.5e-3.", None), Ok(-0.0015));
        assert_eq!(number("x .5", None), Ok(0.5));
    }

    #[test]
    fn what_is_no_number_is_told() {
        let why = |out: &str, parse| number(out, parse).unwrap_err();
        assert_eq!(why("no idea", None), "printed no number");
        assert_eq!(why("top 1", Some("top1: (.*)")), "printed nothing that `top1: (.*)` matches");
        assert_eq!(why("top1: high", Some("top1: (.*)")), "printed `high` where the number should be");
        assert_eq!(why("1\nloss nan", None), "printed NaN, which nothing can be compared with");
    }
}
