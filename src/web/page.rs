//! The page: the state of everything as one plain HTML document that renews itself. It needs no script.

use std::fmt::Write as _;

use crate::live::{LinkState, Snapshot, number};
use crate::model::{Outcome, Quality};

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>mbe-bridge</title>\
<meta http-equiv=\"refresh\" content=\"1\"><meta name=\"viewport\" content=\"width=device-width\">\
<style>:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #8884}\
td.number{text-align:right;font-variant-numeric:tabular-nums}.bad{color:#c33}ul{padding-left:1.2rem}</style></head><body>";

pub(super) fn render(snapshot: &Snapshot) -> String {
    let mut page = HEAD.to_owned();
    let name = if snapshot.run.name.is_empty() { "mbe-bridge" } else { &snapshot.run.name };
    push(&mut page, format_args!("<h1>{}</h1>", escape(name)));
    let complaints = snapshot.complaints();
    if complaints.is_empty() {
        page.push_str("<p>All is well.</p>");
    } else {
        page.push_str("<ul class=\"bad\">");
        for complaint in complaints {
            push(&mut page, format_args!("<li>{}</li>", escape(&complaint)));
        }
        page.push_str("</ul>");
    }
    for alarm in snapshot.alarms() {
        push(&mut page, format_args!("<p class=\"bad\">{}</p>", escape(&alarm)));
    }
    page.push_str("<table><tr><th>channel<th>value<th>unit<th>quality<th>age<th>instrument</tr>");
    for live in &snapshot.channels {
        let (value, quality, age) = match &live.latest {
            None => (String::new(), "waiting".to_owned(), String::new()),
            Some((at, outcome)) => {
                let age = format!("{:.1} s", snapshot.at.since(*at).as_secs_f64());
                match outcome {
                    Outcome::Bad(reason) => (String::new(), format!("bad: {reason}"), age),
                    Outcome::Value { value, quality: Quality::Good } => (number(value.get()), "good".to_owned(), age),
                    Outcome::Value { value, quality: Quality::Uncertain(reason) } => {
                        (number(value.get()), format!("uncertain: {reason}"), age)
                    }
                }
            }
        };
        push(
            &mut page,
            format_args!(
                "<tr><td>{}<td class=\"number\">{value}<td>{}<td>{}<td class=\"number\">{age}<td>{}</tr>",
                escape(live.channel.name.as_str()),
                escape(live.channel.unit.as_deref().unwrap_or("")),
                escape(&quality),
                escape(&live.channel.instrument),
            ),
        );
    }
    page.push_str("</table><h2>Links</h2><table><tr><th>link<th>to<th>state</tr>");
    for link in &snapshot.links {
        let state = match &link.state {
            LinkState::Opening => "opening".to_owned(),
            LinkState::Open => "open".to_owned(),
            LinkState::Down { why, .. } => format!("down: {why}"),
        };
        push(
            &mut page,
            format_args!("<tr><td>{}<td>{}<td>{}</tr>", escape(&link.name), escape(&link.target), escape(&state)),
        );
    }
    push(
        &mut page,
        format_args!(
            "</table><h2>Upload</h2><p>platform {}, {} points uploaded, {} queued in {} chunks, {} rejected</p></body></html>",
            escape(snapshot.platform.state),
            snapshot.run.uploaded,
            snapshot.run.queued,
            snapshot.run.queued_chunks,
            snapshot.run.rejected,
        ),
    );
    page
}

/// Pressures span fifteen decades, temperatures do not.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).unwrap_or_else(|_| unreachable!("a String takes everything"));
}
