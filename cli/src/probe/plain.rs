//! What was found, for people.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use cephwire_codec::v2::{method, mode};
use cephwire_codec::{Features, MsgrFeatures};
use cephwire_protocol::Facts;

use super::Finding;
use super::attempt::Attempt;
use crate::live::cause::Cause;
use crate::live::show::{self, Phases};

const TITLE: Style = Style::new().bold();
const LABEL: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// How long a line is at most, and where its text begins.
const WIDTH: usize = 100;
const INDENT: usize = 15;

/// A paragraph for each version, then the requirements.
pub(super) fn finding(finding: &Finding, out: &mut impl Write) -> io::Result<()> {
    if let Some(cause) = &finding.cause {
        writeln!(out, "{TITLE}{}{TITLE:#}", finding.addr)?;
        failed(cause, out)?;
    }
    // The features of the attempt before: mostly the same.
    let mut above = None;
    for attempt in &finding.attempts {
        self::attempt(attempt, &mut above, out)?;
    }
    for check in &finding.checks {
        let (style, verdict) = if check.met { (GOOD, "ok") } else { (BAD, "FAILED") };
        let verb = if check.required { "require" } else { "refuse" };
        let found = match check.found {
            Some(true) => "the peer has it",
            Some(false) => "the peer does not have it",
            None => "could not be found out",
        };
        writeln!(out, "{style}{verdict:<6}{style:#} {verb} {}: {found}", check.word.name())?;
    }
    Ok(())
}

fn attempt(attempt: &Attempt, above: &mut Option<Features>, out: &mut impl Write) -> io::Result<()> {
    let Attempt { target, look, facts, kind, methods, cause, .. } = attempt;
    writeln!(out, "{TITLE}{}{TITLE:#}", target.addr)?;
    if let Some(cause) = cause {
        failed(cause, out)?;
    }
    if let Some(banner) = look.banner {
        label(out, "banner")?;
        let (supported, required) = (msgr_names(banner.supported), msgr_names(banner.required));
        writeln!(out, "msgr2, supports {supported}, requires {required}")?;
    } else if look.own.is_some() {
        label(out, "banner")?;
        writeln!(out, "msgr1")?;
    }
    if attempt.is_spoken() {
        label(out, "peer")?;
        match facts.as_ref().filter(|_| attempt.is_open()) {
            Some(facts) => writeln!(out, "{} at {}", facts.peer, facts.addrs)?,
            None => writeln!(out, "{}", kind.map_or("not known".to_owned(), |kind| kind.to_string()))?,
        }
    }
    if let Some(own) = look.own {
        label(out, "calls itself")?;
        writeln!(out, "{own}")?;
    }
    if let Some(seen_as) = look.seen_as {
        label(out, "sees us as")?;
        writeln!(out, "{seen_as}")?;
    }
    if let Some(methods) = methods {
        label(out, "allows")?;
        let allowed: Vec<String> = show::methods(methods)
            .into_iter()
            .zip(methods)
            .map(|(name, method)| {
                let modes =
                    look.modes.iter().find(|(of, _)| of == method).map(|(_, modes)| show::modes(modes));
                modes.map_or_else(|| name.clone(), |modes| format!("{name} with {}", modes.join(" or ")))
            })
            .collect();
        writeln!(out, "{}", if allowed.is_empty() { "no method".to_owned() } else { allowed.join("; ") })?;
    }
    if let Some(facts) = facts {
        if attempt.is_open() {
            label(out, "negotiated")?;
            writeln!(out, "{}", negotiated(facts))?;
            label(out, "features")?;
            if above.replace(facts.peer_features) == Some(facts.peer_features) {
                writeln!(out, "{:#x}: as above", facts.peer_features.0)?;
            } else {
                wrapped(out, 0, names(facts.peer_features).iter().map(String::as_str))?;
            }
            if !facts.peer_required.is_empty() {
                label(out, "requires")?;
                wrapped(out, 0, names(facts.peer_required).iter().map(String::as_str))?;
            }
        }
        let times: Vec<String> =
            Phases::of(facts).named().map(|(name, time)| format!("{name} {}", show::time(time))).collect();
        if !times.is_empty() {
            label(out, "times")?;
            writeln!(out, "{}", times.join(", "))?;
        }
    }
    Ok(())
}

fn failed(cause: &Cause, out: &mut impl Write) -> io::Result<()> {
    label(out, "failed")?;
    write!(out, "{BAD}{}{BAD:#}: ", cause.name)?;
    wrapped(out, cause.name.len() + 2, cause.text.split(' '))
}

fn negotiated(facts: &Facts) -> String {
    let mut parts = Vec::new();
    if let Some(revision) = facts.revision() {
        parts.push(format!("msgr {}", show::revision_name(revision)));
    }
    match facts.method {
        Some(method::UNKNOWN) => parts.push("no authorizer".to_owned()),
        Some(value) => parts.push(format!("auth {}", method::name(value).unwrap_or("unknown"))),
        None => {}
    }
    if let Some(value) = facts.mode {
        parts.push(format!("mode {}", mode::name(value).unwrap_or("unknown")));
    }
    match facts.compression {
        Some(method) => parts.push(format!("compression {method}")),
        None if facts.msgr_features().contains(MsgrFeatures::COMPRESSION) => {
            parts.push("no compression".to_owned());
        }
        None => {}
    }
    parts.push(if facts.lossy { "lossy" } else { "lossless" }.to_owned());
    parts.join(", ")
}

fn label(out: &mut impl Write, label: &str) -> io::Result<()> {
    write!(out, "  {LABEL}{label:<width$}{LABEL:#}", width = INDENT - 2)
}

/// Words in lines of a readable length; so many characters stand behind the label already.
fn wrapped<'a>(out: &mut impl Write, written: usize, words: impl Iterator<Item = &'a str>) -> io::Result<()> {
    let mut column = INDENT + written;
    for (n, word) in words.enumerate() {
        if n > 0 && column + 1 + word.len() > WIDTH {
            write!(out, "\n{:INDENT$}", "")?;
            column = INDENT;
        } else if n > 0 {
            write!(out, " ")?;
            column += 1;
        }
        write!(out, "{word}")?;
        column += word.len();
    }
    writeln!(out)
}

/// The number first, then the names, then what has none.
fn names(features: Features) -> Vec<String> {
    let mut names = vec![format!("{:#x}:", features.0)];
    names.extend(features.names().map(str::to_owned));
    if features.unnamed() != 0 {
        names.push(format!("unnamed {:#x}", features.unnamed()));
    }
    names
}

fn msgr_names(features: MsgrFeatures) -> String {
    let mut names: Vec<String> = features.names().map(str::to_owned).collect();
    if features.unnamed() != 0 {
        names.push(format!("{:#x}", features.unnamed()));
    }
    if names.is_empty() { "nothing".to_owned() } else { names.join(" ") }
}
