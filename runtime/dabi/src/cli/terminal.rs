//! The overview on a terminal: a few lines that follow the pipeline.
//!
//! Owns the lines. Where stderr is a terminal they stay at its bottom, below the
//! log; elsewhere the first of them joins the log every few seconds.

use std::sync::Arc;
use std::time::Duration;

use console::{Style, Term, style, truncate_str};
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use tokio::sync::watch;

use crate::overview::{Overview, Quantiles};
use crate::pipeline::{TransformReport, TransformState};
use crate::telemetry::screen;

/// How often a log gets a line.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// Shows what a person can do now: a word and how, a line each.
pub(super) fn introduce(ways: &[(&str, String)]) {
    let lines: Vec<_> =
        ways.iter().map(|(word, how)| format!("{} {how}", style(format!("{word:<5}")).bold())).collect();
    screen().suspend(|| eprintln!("{}\n", lines.join("\n")));
}

/// Shows every snapshot until there are no more.
pub(super) async fn follow(overview: watch::Receiver<Arc<Overview>>) {
    if Term::stderr().is_term() { draw(overview).await } else { log(overview).await }
}

async fn draw(mut overview: watch::Receiver<Arc<Overview>>) {
    let bar = screen().add(ProgressBar::new_spinner());
    bar.set_style(ProgressStyle::with_template("{msg}").expect("a valid template"));
    while overview.changed().await.is_ok() {
        let lines = lines(&Arc::clone(&overview.borrow_and_update()));
        let width = usize::from(Term::stderr().size().1);
        let lines: Vec<_> = lines.iter().map(|line| truncate_str(line, width, "…")).collect();
        bar.set_message(lines.join("\n"));
        bar.tick();
    }
    bar.finish_and_clear();
}

async fn log(mut overview: watch::Receiver<Arc<Overview>>) {
    let mut next = tokio::time::Instant::now() + LOG_EVERY;
    while overview.changed().await.is_ok() {
        let latest = Arc::clone(&overview.borrow_and_update());
        // Of a start the log tells already.
        if tokio::time::Instant::now() >= next && latest.phase != "starting" {
            next = tokio::time::Instant::now() + LOG_EVERY;
            tracing::info!("{}", flow(&latest));
        }
    }
}

/// What the terminal shows: the flow, the star, and what needs a look.
pub(super) fn lines(overview: &Overview) -> Vec<String> {
    let phase = if overview.ready { Style::new().green() } else { Style::new().yellow() };
    let mut lines = vec![
        String::new(),
        format!("{} {}", phase.apply_to("●"), flow(overview)),
        format!("  {}", star(overview)),
    ];
    for (neighbour, reason) in &overview.waiting {
        lines.push(style(format!("  waiting for {neighbour}: {reason}")).yellow().to_string());
    }
    lines.extend(overview.transforms.iter().filter_map(trouble));
    lines
}

/// Events of a capture, or of a backlog, are older than anyone counts in milliseconds.
fn after(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{ms} ms"),
        _ => HumanDuration(Duration::from_millis(ms)).to_string(),
    }
}

/// One line: how much, how far behind, how fast.
fn flow(overview: &Overview) -> String {
    let Overview { phase, now, latency, run, .. } = overview;
    let letters = run.dead_letters + run.unreadable;
    let latency = match latency.commit_ms.or(latency.kafka_ms) {
        Some(Quantiles { p50, p99 }) => format!("visible after {} (p99 {})", after(p50), after(p99)),
        None => "nothing new".to_owned(),
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people")]
    let rate = HumanCount(now.events_per_s.round() as u64);
    let mut line = format!("{phase}, {rate} events/s, {latency}, lag {}", HumanCount(now.lag));
    for (count, what) in [(letters, "dead letters"), (run.reloads, "reloads")] {
        if count > 0 {
            line += &format!(", {} {what}", HumanCount(count));
        }
    }
    line
}

/// One line: the rows of each target.
fn star(overview: &Overview) -> String {
    let target = |target: &crate::overview::TargetState| {
        let rows = target.rows.map_or_else(|| "…".to_owned(), |rows| HumanCount(rows.count).to_string());
        format!("{} {rows}", style(&target.table).dim())
    };
    overview.targets.iter().map(target).collect::<Vec<_>>().join("  ")
}

/// What is wrong with a transform, on one line; the log has all of it.
fn trouble(transform: &TransformReport) -> Option<String> {
    let name = &transform.name;
    match transform.state {
        TransformState::Building => Some(format!("  {} is being built", style(name).bold())),
        TransformState::Failed | TransformState::Stopped => {
            let reason = transform.reason.as_deref().unwrap_or_default();
            let first = reason.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
            let goes_on = if transform.module.is_some() { "; the one from before goes on" } else { "" };
            Some(style(format!("  {name}: {first}{goes_on}")).red().to_string())
        }
        TransformState::Live | TransformState::Retired => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overview::{LatencyPair, RowCount, Run, Sample, TargetState};

    #[test]
    fn the_lines_say_what_flows_what_stands_and_what_is_wrong() {
        let mut broken = TransformReport::default();
        broken.name = "f_orders".to_owned();
        broken.state = TransformState::Failed;
        broken.module = Some("a1".to_owned());
        broken.reason = Some("f_orders does not build (src/lib.rs:41:23):\nerror: …".to_owned());
        let overview = Overview {
            phase: "running".to_owned(),
            now: Sample { events_per_s: 1003.4, lag: 84, ..Sample::default() },
            latency: LatencyPair { commit_ms: Some(Quantiles { p50: 61, p99: 118 }), kafka_ms: None },
            run: Run { dead_letters: 2, unreadable: 1, ..Run::default() },
            targets: vec![
                TargetState {
                    table: "f_orders".to_owned(),
                    rows: Some(RowCount { count: 12_345, at_ms: 0 }),
                    ..TargetState::default()
                },
                TargetState { table: "dim_users".to_owned(), ..TargetState::default() },
            ],
            transforms: vec![broken],
            ..Overview::default()
        };
        let lines: Vec<_> =
            lines(&overview).iter().map(|line| console::strip_ansi_codes(line).into_owned()).collect();
        assert_eq!(
            lines,
            [
                "",
                "● running, 1,003 events/s, visible after 61 ms (p99 118 ms), lag 84, 3 dead letters",
                "  f_orders 12,345  dim_users …",
                "  f_orders: f_orders does not build (src/lib.rs:41:23):; the one from before goes on",
            ]
        );
    }
}
