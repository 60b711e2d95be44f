//! What was found, for machines.

use cephwire_codec::v2::{method, mode};
use cephwire_protocol::Version;
use serde_json::{Map, Value, json};

use super::Finding;
use super::attempt::Attempt;
use crate::live::cause::Cause;
use crate::live::show::{self, Phases};
use crate::live::version_name;

/// One object for one address.
pub(super) fn finding(finding: &Finding) -> Value {
    let checks: Vec<Value> = finding
        .checks
        .iter()
        .map(|check| {
            let verb = if check.required { "require" } else { "refuse" };
            json!({ verb: check.word.name(), "found": check.found, "met": check.met })
        })
        .collect();
    // Without an address there is no version either; the rest is as in every attempt that failed.
    let unresolved = finding.cause.iter().map(|cause| {
        json!({
            "address": finding.addr,
            "version": null,
            "spoken": false,
            "open": false,
            "error": error(cause),
            "type": null,
            "sees_us_as": null,
            "methods": null,
        })
    });
    json!({
        "address": finding.addr,
        "status": finding.status,
        "checks": checks,
        "attempts": unresolved.chain(finding.attempts.iter().map(attempt)).collect::<Vec<_>>(),
    })
}

fn error(cause: &Cause) -> Value {
    json!({ "cause": cause.name, "phase": cause.phase, "text": cause.text })
}

fn attempt(attempt: &Attempt) -> Value {
    let Attempt { target, look, facts, kind, methods, refused, cause } = attempt;
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| {
        object.insert(name.to_owned(), value);
    };
    put("address", target.addr.to_string().into());
    put("version", version_name(target.version).into());
    put("spoken", attempt.is_spoken().into());
    put("open", attempt.is_open().into());
    if let Some(cause) = cause {
        put("error", error(cause));
    }
    if let Some(banner) = look.banner {
        let supported = show::msgr_features(banner.supported);
        put("banner", json!({ "supported": supported, "required": show::msgr_features(banner.required) }));
    }
    put("type", kind.map(|kind| kind.to_string()).into());
    put("sees_us_as", look.seen_as.map(|addr| addr.to_string()).into());
    if let Some(own) = look.own {
        put("calls_itself", own.to_string().into());
    }
    put("methods", methods.as_ref().map(|methods| show::methods(methods)).into());
    if let Some(method) = refused {
        put("refused_method", method::name(*method).into());
    }
    if target.version == Version::V2 {
        let modes = look.modes.iter().map(|(method, modes)| {
            let name = method::name(*method).map_or_else(|| method.to_string(), str::to_owned);
            (name, Value::from(show::modes(modes)))
        });
        put("modes", modes.collect::<Map<_, _>>().into());
    }
    if let Some(facts) = facts {
        let phases = Phases::of(facts);
        put("times_us", phases.to_json());
        put("phase", facts.phase.into());
        if attempt.is_open() {
            put("peer", facts.peer.to_string().into());
            put("addresses", facts.addrs.0.iter().map(ToString::to_string).collect::<Vec<_>>().into());
            put("features", show::features(facts.peer_features));
            put("features_required", show::features(facts.peer_required));
            put("features_in_effect", show::features(facts.features));
            let revision = facts.revision().map(show::revision_name);
            put("revision", revision.into());
            put("method", facts.method.map(method::name).into());
            put("mode", facts.mode.map(mode::name).into());
            put("compression", facts.compression.map(|method| method.to_string()).into());
            put("global_id", facts.global_id.into());
            put("lossy", facts.lossy.into());
        }
    }
    object.into()
}
