//! How much may a peer announce before we stop believing it?

/// The greatest lengths that a decoder accepts, in bytes.
///
/// A length above its limit is [`Flaw::TooLong`](crate::Flaw::TooLong) as soon as it is read; nothing
/// is reserved for it. Ceph's daemons have no such limits (a 2 GB announcement makes them wait for
/// the bytes); those for front, middle and data are the Linux kernel client's (`net/ceph/messenger_v1.c`).
///
/// ```
/// use cephwire_codec::Limits;
/// let tight = Limits { data: 4096, ..Limits::default() };
/// assert_eq!(tight.front, 16 << 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A message's first part, its encoded fields. Default 16 MiB.
    pub front: u32,
    /// A message's middle part (in use for a few file system messages only). Default 16 MiB.
    pub middle: u32,
    /// A message's bulk data. Default 64 MiB.
    pub data: u32,
    /// Authorizers, of connect and of connect_reply (v1). Default 64 KiB.
    pub authorizer: u32,
    /// The payload of every other frame: v2's control frames and banner. Default 64 KiB.
    pub handshake: u32,
    /// Memory reserved beyond the bytes that have arrived. Default 64 KiB.
    ///
    /// Half of it is for reading ahead; a large segment is read into pieces of at most the other half,
    /// each reserved when the one before is full. A state machine that knows its peer and holds the
    /// throttle's permits for a whole message may raise this to twice the limit of `data`: then every
    /// segment is one piece.
    pub ahead: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            front: 16 << 20,
            middle: 16 << 20,
            data: 64 << 20,
            authorizer: 64 << 10,
            handshake: 64 << 10,
            ahead: 64 << 10,
        }
    }
}
