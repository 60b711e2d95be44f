//! How does every connection of v2 begin, whoever dialed? With banners, then with HELLO. (Messenger 2 spec §3, §4.)

use cephwire_codec::MsgrFeatures;
use cephwire_codec::v2::{Banner, Frame, Hello};

use super::Context;
use super::v2_sign::Transcript;
use crate::error::{Error, Incompatible};

/// Sends the own banner, which waits for nobody.
pub(super) fn begin(context: &mut Context<'_>) -> Result<Transcript, Error> {
    let own = own_banner(context);
    context.facts.own_banner = Some(own);
    let mut transcript = Transcript::default();
    transcript.put(&Frame::Banner(own), context)?;
    Ok(transcript)
}

/// The peer's banner is here: settles what both mean, and sends the own HELLO.
pub(super) fn greet(
    theirs: Banner,
    transcript: &mut Transcript,
    context: &mut Context<'_>,
) -> Result<(), Error> {
    let ours = own_banner(context);
    context.facts.times.banner = Some(context.now);
    context.facts.peer_banner = Some(theirs);
    if !ours.supported.contains(theirs.required) || !theirs.supported.contains(ours.required) {
        return Err(context.incompatible(Incompatible::Msgr { theirs, ours }));
    }
    if let Some(revision) = context.facts.revision() {
        context.set_revision(revision);
    }
    let entity_type = context.local.name().kind;
    let peer_addr = context.facts.socket.unwrap_or_default();
    transcript.put(&Frame::Hello(Hello { entity_type, peer_addr }), context)
}

fn own_banner(context: &Context<'_>) -> Banner {
    let options = &context.local.options;
    let bit = |on: bool, feature| if on { feature } else { MsgrFeatures(0) };
    let supported = bit(options.revision_1, MsgrFeatures::REVISION_1)
        | bit(!options.compression.is_empty(), MsgrFeatures::COMPRESSION);
    Banner { supported, required: MsgrFeatures(0) }
}
