//! Which frames of v1 carry authentication, and do the signatures of messages hold?

use cephwire_codec::v1::{Connect, ConnectReply, Footprint, Frame, MessageFrame, Signer as _, Tag};
use cephwire_codec::v2::method;
use cephwire_codec::{Features, Flags, Side};
use cephwire_protocol::auth::cephx::MessageSigner;

use super::{Exchange, Findings, Signature, With};

impl Exchange {
    /// Takes note of a frame of `side`.
    pub(in super::super) fn heard_v1(
        &mut self,
        side: Side,
        frame: &Frame,
        footprint: &Footprint,
    ) -> Findings {
        match frame {
            Frame::Connect(connect) => self.connect(connect),
            Frame::Reply(reply) => self.connect_reply(reply),
            Frame::Message(frame) => {
                let mut findings = self.message(&frame.message);
                findings.signature = self.check_message(side, frame, footprint);
                findings
            }
            _ => Findings::default(),
        }
    }

    fn connect(&mut self, connect: &Connect) -> Findings {
        self.features = connect.features;
        match connect.authorizer_protocol {
            method::CEPHX if !connect.authorizer.is_empty() => {
                self.with = With::Service;
                self.authorizer(&connect.authorizer).into()
            }
            // To a monitor; MAuth messages will follow.
            method::UNKNOWN => Findings::default(),
            _ => {
                self.with = With::Nobody;
                Findings::default()
            }
        }
    }

    fn connect_reply(&mut self, reply: &ConnectReply) -> Findings {
        if self.with != With::Service {
            return Findings::default();
        }
        let mut findings = Findings::default();
        if reply.tag == Tag::ChallengeAuthorizer {
            return self.authorizer_challenge(&reply.authorizer).into();
        }
        if !reply.authorizer.is_empty() {
            findings = self.authorizer_reply(&reply.authorizer).into();
        }
        if matches!(reply.tag, Tag::Ready | Tag::Seq) {
            let features = self.features.intersection(reply.features);
            let signing = features.contains(Features::MSG_AUTH);
            let key = self.session_key.as_ref().filter(|_| signing);
            self.signer = key.map(|key| MessageSigner::new(key, features));
        }
        findings
    }

    fn check_message(
        &mut self,
        side: Side,
        frame: &MessageFrame,
        footprint: &Footprint,
    ) -> Option<Signature> {
        let signer = self.signer.as_ref()?;
        let signs = self.signs.of_mut(side);
        if !frame.flags.contains(Flags::SIGNED) {
            // Whether they have to be signed is the option cephx_sign_messages of both sides, which is not on the wire.
            return signs.then_some(Signature::Missing);
        }
        *signs = true;
        let right = signer.sign(&footprint.signed) == frame.signature;
        Some(if right { Signature::Holds } else { Signature::Wrong })
    }
}
