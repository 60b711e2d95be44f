//! Will frames be compressed, and how? (Messenger 2 spec §10.)
//!
//! If both banners have the feature, the client asks once between the signatures and its first claim, whether it
//! wants compression or not, and the server answers.

use cephwire_codec::MsgrFeatures;
use cephwire_codec::v2::{CompressionDone, CompressionRequest, Method, mode};

use super::Context;
use crate::error::Error;

/// Whether both sides talk about it.
pub(super) fn is_negotiated(context: &Context<'_>) -> bool {
    context.facts.msgr_features().contains(MsgrFeatures::COMPRESSION)
}

/// The methods that this side wants with this peer; none if it wants no compression.
fn wanted(context: &Context<'_>) -> Vec<Method> {
    let (options, facts) = (&context.local.options, &context.facts);
    let allowed = facts.mode != Some(mode::SECURE) || options.compress_secure;
    if !allowed || !options.compress_peers.contains(&facts.peer.kind) {
        return Vec::new();
    }
    options.compression.iter().copied().filter(|method| method.is_supported()).collect()
}

/// The client's wish.
pub(super) fn request(context: &Context<'_>) -> CompressionRequest {
    let methods = wanted(context);
    CompressionRequest { compress: !methods.is_empty(), methods }
}

/// The server's answer: the client's order wins.
pub(super) fn answer(request: &CompressionRequest, context: &Context<'_>) -> CompressionDone {
    let own = wanted(context);
    let common = request.methods.iter().copied().find(|method| own.contains(method));
    match common.filter(|_| request.compress) {
        Some(method) => CompressionDone { compress: true, method },
        None => CompressionDone { compress: false, method: Method::NONE },
    }
}

/// Takes the answer, on the side that sent it (where it is always in order) and on the other.
pub(super) fn settle(done: CompressionDone, context: &mut Context<'_>) -> Result<(), Error> {
    let own = wanted(context);
    // Only what both want. Ceph answers (true, none) if there is no common method.
    if !done.compress || own.is_empty() || done.method == Method::NONE {
        return Ok(());
    }
    if !own.contains(&done.method) {
        let found = format_args!("method {}", done.method.0);
        return Err(context.wrong(found, "one that was offered"));
    }
    context.facts.compression = Some(done.method);
    context.set_compression(done.method);
    Ok(())
}
