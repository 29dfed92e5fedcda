//! The plot: a panel of bars for each scenario, drawn as SVG.

use std::fmt::Write;

use super::job_name;
use super::results::{Idle, IdleFigure, Report};
use crate::peers::Kind;
use crate::report::figure;

#[derive(Debug)]
struct Panel {
    title: String,
    unit: &'static str,
    bars: Vec<Bar>,
}

#[derive(Debug)]
struct Bar {
    label: String,
    value: Option<f64>,
    note: String,
    colour: &'static str,
}

const WIDTH: usize = 1120;
const PANEL: usize = 520;
const LABEL: usize = 200;
/// Room to the right of the longest bar for its figure.
const NOTE: usize = 130;
const BAR: usize = 22;
const HEAD: usize = 52;
const GAP: usize = 26;

pub(super) fn svg(report: &Report) -> String {
    let panels = panels(report);
    let height = |panel: &Panel| HEAD + panel.bars.len() * (BAR + 4) + GAP;
    let mut columns = [90, 90];
    let mut body = String::new();
    for panel in &panels {
        let [left, right] = columns;
        let (column, x) = if left <= right { (0, 30) } else { (1, 30 + PANEL + 40) };
        if let Some(y) = columns.get_mut(column) {
            draw(&mut body, panel, x, *y);
            *y += height(panel);
        }
    }
    let total = columns.into_iter().max().unwrap_or(90) + 10;
    let quick = if report.is_quick { " – QUICK RUN, MEASURES NOTHING" } else { "" };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{total}\" viewBox=\"0 0 {WIDTH} {total}\" \
         font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\">\n<rect width=\"{WIDTH}\" height=\"{total}\" \
         fill=\"#ffffff\"/>\n<text x=\"30\" y=\"38\" font-size=\"22\" font-weight=\"bold\" fill=\"#1f2933\">Fairway \
         beside its peers{quick}</text>\n<text x=\"30\" y=\"62\" font-size=\"13\" fill=\"#52606d\">Shorter is better. \
         One worker on one CPU; medians of {} interleaved rounds; × is the ratio to the floor, a minimal Pingora \
         proxy.</text>\n{body}</svg>\n",
        report.rounds
    )
}

fn panels(report: &Report) -> Vec<Panel> {
    let mut panels: Vec<Panel> = report
        .outcomes
        .iter()
        .map(|outcome| {
            let bars = outcome.contestants.iter().map(|c| {
                let cpu = c.closed(|s| s.cpu_micros_per_request);
                let ratio = outcome.ratio(c, Kind::Floor).map(|r| format!(" · {r:.2} ×")).unwrap_or_default();
                Bar {
                    label: job_name(c.kind, c.job, outcome.jobs),
                    value: cpu,
                    note: if c.error.is_some() { "invalid".to_owned() } else { figure(cpu) + &ratio },
                    colour: colour(c.kind.name()),
                }
            });
            Panel { title: outcome.title.to_owned(), unit: "CPU µs per request", bars: bars.collect() }
        })
        .collect();
    if !report.idle.is_empty() {
        let panel = |title: &str, unit, value: &dyn Fn(&Idle) -> Option<f64>| Panel {
            title: title.to_owned(),
            unit,
            bars: report
                .idle
                .iter()
                .map(|i| Bar {
                    label: i.peer.to_owned(),
                    value: value(i),
                    note: figure(value(i)),
                    colour: colour(i.peer),
                })
                .collect(),
        };
        let kib = |f: Option<IdleFigure>| f.map(|f| f.kib_per_connection);
        panels.push(panel("Memory at start", "MiB", &|i| i.start_mib));
        panels.push(panel("Idle client connection", "KiB each", &|i| kib(i.plain)));
        panels.push(panel("Idle client connection, TLS", "KiB each", &|i| kib(i.tls)));
        panels.push(panel("Idle connection with its upstream in the pool", "KiB each", &|i| {
            kib(i.plain_with_upstream)
        }));
    }
    panels
}

fn draw(out: &mut String, panel: &Panel, x: usize, y: usize) {
    let longest = panel.bars.iter().filter_map(|b| b.value).fold(0.0, f64::max).max(1e-9);
    let room = (PANEL - LABEL - NOTE) as f64;
    let _ = writeln!(
        out,
        "<text x=\"{x}\" y=\"{}\" font-size=\"15\" font-weight=\"bold\" fill=\"#1f2933\">{}</text>\n\
         <text x=\"{x}\" y=\"{}\" font-size=\"11\" fill=\"#7b8794\">{}</text>",
        y + 16,
        escape(&panel.title),
        y + 34,
        panel.unit
    );
    let from = x + LABEL;
    for (i, bar) in panel.bars.iter().enumerate() {
        let top = y + HEAD + i * (BAR + 4);
        let width = bar.value.map_or(0.0, |v| v / longest * room);
        let middle = top + BAR / 2 + 5;
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{middle}\" font-size=\"13\" text-anchor=\"end\" fill=\"#1f2933\">{}</text>\n\
             <rect x=\"{from}\" y=\"{top}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{}\"/>\n\
             <text x=\"{:.1}\" y=\"{middle}\" font-size=\"13\" fill=\"#1f2933\">{}</text>",
            from - 8,
            escape(&bar.label),
            bar.colour,
            from as f64 + width + 6.0,
            escape(&bar.note)
        );
    }
    let bottom = y + HEAD + panel.bars.len() * (BAR + 4);
    let _ = writeln!(
        out,
        "<line x1=\"{from}\" y1=\"{}\" x2=\"{from}\" y2=\"{bottom}\" stroke=\"#9aa5b1\"/>",
        y + HEAD - 4
    );
}

fn colour(peer: &str) -> &'static str {
    match peer {
        "fairway" => "#1565c0",
        "floor" => "#90a4ae",
        "envoy" => "#ab6fc4",
        "nginx" => "#5fa463",
        _ => "#e0a040",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_panel_and_every_figure_is_drawn() {
        let mut report = Report::new(3, false);
        let figure = |k| Some(IdleFigure { kib_per_connection: k, pooled: 7 });
        report.idle.push(Idle {
            peer: "fairway",
            connections: 10,
            start_mib: Some(14.0),
            plain: figure(21.5),
            tls: None,
            plain_with_upstream: figure(40.0),
            tls_with_upstream: None,
            error: None,
        });
        let text = svg(&report);
        for part in ["Idle client connection, TLS", ">21.5<", ">14.0<", ">–<", "</svg>"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
