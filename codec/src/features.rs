//! What do the 64 feature bits of connect and CLIENT_IDENT mean, and the feature bits of the msgr2 banner?
//!
//! Ceph has run out of bits, so it recycles them. A recycled bit has its new meaning (its second or third
//! *incarnation*) only together with marker bits: bit 57 for the second, bits 57 and 28 for the third. Hence
//! a feature is a mask here, and "has the feature" means that all bits of its mask are present.
//!
//! Masks are as in Ceph. They leave some doubt: a peer of Ceph 14 has bit 38 in its first meaning and bit 57,
//! so the mask of `CRUSH_MSR` matches. Ceph relies on releases so far apart never talking to each other.
//! Names ([`Features::names`], `Debug`) are chosen with more care: a peer older than the release which gave
//! up the old meaning gets the old name, and an old name that the peer's release has given up is not used.

use core::fmt;
use core::ops::{BitAnd, BitOr, Not};

/// One meaning of one bit.
struct Row {
    name: &'static str,
    bit: u32,
    incarnation: u32,
    /// The bit and the markers of its incarnation.
    mask: u64,
    /// Mask of the release that no longer advertises this meaning; 0 if it is in use.
    until: u64,
}

impl Row {
    /// Whether `bits` can have this meaning.
    const fn possible(&self, bits: u64) -> bool {
        bits & self.mask == self.mask && (self.until == 0 || bits & self.until != self.until)
    }

    /// Whether `bits` is what an older daemon or client advertises, for which this retired meaning stands.
    ///
    /// Everything since Ceph 12 advertises `SERVER_LUMINOUS`; a mere set of requirements seldom has it.
    const fn still_in_use(&self, bits: u64) -> bool {
        let luminous = Features::SERVER_LUMINOUS.0;
        self.until != 0 && self.possible(bits) && bits & luminous == luminous
    }

    /// Whether this meaning wins over `other`, another meaning of the same bit.
    const fn outranks(&self, other: &Self, bits: u64) -> bool {
        if self.incarnation > other.incarnation {
            self.possible(bits) && !other.still_in_use(bits)
        } else {
            self.incarnation < other.incarnation && self.still_in_use(bits)
        }
    }

    /// Whether this is what its bit means in `bits`, of all the meanings that the bit can have.
    fn explains(&self, bits: u64, meanings: &[Self]) -> bool {
        self.possible(bits) && !meanings.iter().any(|other| other.outranks(self, bits))
    }

    /// What explains `bits`, in order of bits. All meanings of a bit stand together in the table.
    fn explaining(table: &[Self], bits: u64) -> impl Iterator<Item = &Self> {
        let by_bit = table.chunk_by(|a, b| a.bit == b.bit);
        by_bit.flat_map(move |meanings| meanings.iter().filter(move |row| row.explains(bits, meanings)))
    }
}

const fn markers(incarnation: u32) -> u64 {
    match incarnation {
        2 => 1 << 57,
        3 => 1 << 57 | 1 << 28,
        _ => 0,
    }
}

/// A set of feature bits from its table: one row per meaning, `bit, incarnation, NAME;`, retired ones with
/// `until` the feature of the first release that does not advertise the meaning.
macro_rules! features {
    (
        $(#[$attr:meta])*
        $type:ident { $($bit:literal, $incarnation:literal, $name:ident $(until $until:ident)?;)* }
    ) => {
        $(#[$attr])*
        #[derive(Copy, Clone, PartialEq, Eq, Default, Hash)]
        #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
        pub struct $type(pub u64);

        impl $type {
            $(
                #[doc = concat!(
                    "Bit ", stringify!($bit), ", incarnation ", stringify!($incarnation), ".",
                    $(" Retired: not advertised since [`Self::", stringify!($until), "`].",)?
                )]
                pub const $name: Self = Self(1 << $bit | markers($incarnation));
            )*

            const TABLE: &'static [Row] = &[$(
                Row {
                    name: stringify!($name),
                    bit: $bit,
                    incarnation: $incarnation,
                    mask: Self::$name.0,
                    until: 0 $(| Self::$until.0)?,
                },
            )*];

            /// The bits as a number.
            #[must_use]
            pub const fn bits(self) -> u64 {
                self.0
            }

            /// Whether no bit is set.
            #[must_use]
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// Whether all bits of `mask` are present.
            #[must_use]
            pub const fn contains(self, mask: Self) -> bool {
                self.0 & mask.0 == mask.0
            }

            /// The bits of `required` that are absent here.
            ///
            /// Markers which are present here are not in the result. So to name the missing features, filter
            /// the names of `required` rather than naming the result.
            #[must_use]
            pub const fn missing(self, required: Self) -> Self {
                Self(required.0 & !self.0)
            }

            /// The bits that are in either set.
            #[must_use]
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// The bits that are in both sets.
            #[must_use]
            pub const fn intersection(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }

            /// Names of the features that are present, in order of bits.
            ///
            /// Of a recycled bit only the meaning it has in this set; of features that share a bit, all.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                Row::explaining(Self::TABLE, self.0).map(|row| row.name)
            }

            /// The bits which no feature of [`names`](Self::names) explains.
            #[must_use]
            pub fn unnamed(self) -> u64 {
                Row::explaining(Self::TABLE, self.0).fold(self.0, |rest, row| rest & !(1 << row.bit))
            }

            /// The mask of the feature with this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::TABLE.iter().find(|row| row.name == name).map(|row| Self(row.mask))
            }
        }

        impl BitAnd for $type {
            type Output = Self;

            fn bitand(self, other: Self) -> Self {
                self.intersection(other)
            }
        }

        impl BitOr for $type {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                self.union(other)
            }
        }

        impl Not for $type {
            type Output = Self;

            fn not(self) -> Self {
                Self(!self.0)
            }
        }

        /// Hexadecimal, `0x3f01cfbdfffdffff`.
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        /// Hexadecimal and names, with the bits that have no name at the end.
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({:#x}"), self.0)?;
                for name in self.names() {
                    write!(f, " {name}")?;
                }
                match self.unnamed() {
                    0 => f.write_str(")"),
                    rest => write!(f, " +{rest:#x})"),
                }
            }
        }
    };
}

features! {
    /// Feature bits of a peer, in connect, its reply, and the idents of msgr2.
    Features {
        0, 1, UID;
        1, 1, NOSRCADDR;
        2, 1, MONCLOCKCHECK until SERVER_LUMINOUS;
        2, 3, SERVER_NAUTILUS;
        3, 1, FLOCK;
        4, 1, SUBSCRIBE2;
        5, 1, MONNAMES;
        6, 1, RECONNECT_SEQ;
        7, 1, DIRLAYOUTHASH;
        8, 1, OBJECTLOCATOR;
        9, 1, PGID64;
        10, 1, INCSUBOSDMAP;
        11, 1, PGPOOL3;
        12, 1, OSDREPLYMUX;
        13, 1, OSDENC;
        14, 1, OMAP until SERVER_JEWEL;
        14, 2, SERVER_KRAKEN;
        15, 1, MONENC;
        16, 1, QUERY_T until SERVER_LUMINOUS;
        16, 3, SERVER_OCTOPUS;
        16, 3, OSD_REPOP_MLCOD;
        17, 1, INDEP_PG_MAP until SERVER_LUMINOUS;
        17, 3, OS_PERF_STAT_NS;
        18, 1, CRUSH_TUNABLES;
        19, 1, CHUNKY_SCRUB until SERVER_LUMINOUS;
        19, 2, OSD_PGLOG_HARDLIMIT;
        20, 1, MON_NULLROUTE until SERVER_LUMINOUS;
        20, 3, SERVER_PACIFIC;
        21, 1, MON_GV until SERVER_JEWEL;
        21, 2, SERVER_LUMINOUS;
        21, 2, RESEND_ON_SPLIT;
        21, 2, RADOS_BACKOFF;
        21, 2, OSDMAP_PG_UPMAP;
        21, 2, CRUSH_CHOOSE_ARGS;
        22, 1, BACKFILL_RESERVATION until SERVER_LUMINOUS;
        22, 2, OSD_FIXED_COLLECTION_LIST;
        23, 1, MSG_AUTH;
        24, 1, RECOVERY_RESERVATION until SERVER_LUMINOUS;
        24, 2, RECOVERY_RESERVATION_2;
        25, 1, CRUSH_TUNABLES2;
        26, 1, CREATEPOOLID;
        27, 1, REPLY_CREATE_INODE;
        28, 1, OSD_HBMSGS until SERVER_JEWEL;
        28, 2, SERVER_MIMIC;
        29, 1, MDSENC;
        30, 1, OSDHASHPSPOOL;
        // Ceph's table has it given up by 16, but 16.2 advertises it.
        31, 1, MON_SINGLE_PAXOS until SERVER_QUINCY;
        31, 3, SERVER_REEF;
        32, 1, OSD_SNAPMAPPER until SERVER_LUMINOUS;
        32, 3, STRETCH_MODE;
        33, 1, MON_SCRUB until SERVER_LUMINOUS;
        33, 3, SERVER_QUINCY;
        34, 1, OSD_PACKED_RECOVERY until SERVER_LUMINOUS;
        34, 3, RANGE_BLOCKLIST;
        35, 1, OSD_CACHEPOOL;
        36, 1, CRUSH_V2;
        37, 1, EXPORT_PEER;
        38, 1, OSD_ERASURE_CODES until SERVER_OCTOPUS;
        38, 2, CRUSH_MSR;
        39, 1, OSDMAP_ENC;
        40, 1, MDS_INLINE_DATA;
        41, 1, CRUSH_TUNABLES3;
        41, 1, OSD_PRIMARY_AFFINITY;
        42, 1, MSGR_KEEPALIVE2;
        43, 1, OSD_POOLRESEND;
        44, 1, ERASURE_CODE_PLUGINS_V2 until SERVER_OCTOPUS;
        44, 2, NVMEOFHA;
        45, 1, OSD_SET_ALLOC_HINT until SERVER_LUMINOUS;
        45, 2, NVMEOFHAMAP;
        46, 1, OSD_FADVISE_FLAGS;
        46, 1, OSD_REPOP until SERVER_LUMINOUS;
        46, 1, OSD_OBJECT_DIGEST until SERVER_LUMINOUS;
        46, 1, OSD_TRANSACTION_MAY_LAYOUT until SERVER_LUMINOUS;
        47, 1, MDS_QUOTA;
        48, 1, CRUSH_V4;
        49, 1, OSD_MIN_SIZE_RECOVERY until SERVER_LUMINOUS;
        49, 1, OSD_PROXY_FEATURES until SERVER_LUMINOUS;
        49, 2, SERVER_SQUID;
        50, 1, MON_METADATA until SERVER_OCTOPUS;
        50, 2, SERVER_TENTACLE;
        51, 1, OSD_BITWISE_HOBJ_SORT until SERVER_OCTOPUS;
        52, 1, OSD_PROXY_WRITE_FEATURES until SERVER_OCTOPUS;
        53, 1, ERASURE_CODE_PLUGINS_V3 until SERVER_OCTOPUS;
        54, 1, OSD_HITSET_GMT until SERVER_OCTOPUS;
        55, 1, HAMMER_0_94_4 until SERVER_OCTOPUS;
        56, 1, NEW_OSDOP_ENCODING;
        57, 1, MON_STATEFUL_SUB;
        57, 1, MON_ROUTE_OSDMAP until SERVER_OCTOPUS;
        57, 1, SERVER_JEWEL;
        58, 1, CRUSH_TUNABLES5;
        58, 1, NEW_OSDOPREPLY_ENCODING;
        58, 1, FS_FILE_LAYOUT_V2;
        59, 1, FS_BTIME;
        59, 1, FS_CHANGE_ATTR;
        59, 1, MSG_ADDR2;
        60, 1, OSD_RECOVERY_DELETES;
        61, 1, CEPHX_V2;
        62, 1, RESERVED;
        63, 1, RESERVED_BROKEN until SERVER_QUINCY;
    }
}

impl Features {
    /// What Ceph 14.2.21 advertises by default.
    pub const ALL_NAUTILUS: Self = Self(0x3ffd_dff8_ffec_ffff);
    /// What Ceph 16.2.7 advertises by default.
    pub const ALL_PACIFIC_16_2_7: Self = Self(0x3f01_cfb9_fffd_ffff);
    /// What Ceph 16.2.15 advertises by default: that of 16.2.7 and [`Self::RANGE_BLOCKLIST`].
    pub const ALL_PACIFIC: Self = Self(0x3f01_cfbd_fffd_ffff);
    /// What Ceph 18.2.7 advertises by default.
    pub const ALL_REEF: Self = Self(0x3f01_cfbf_fffd_ffff);
}

features! {
    /// Feature bits of the msgr2 banner: a name space of its own, about the protocol itself.
    MsgrFeatures {
        0, 1, REVISION_1;
        1, 1, COMPRESSION;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn names(features: Features) -> Vec<&'static str> {
        features.names().collect()
    }

    #[test]
    fn masks() {
        for (name, mask) in [
            ("UID", 0x1),
            ("NOSRCADDR", 0x2),
            ("SERVER_NAUTILUS", 0x200_0000_1000_0004),
            ("SUBSCRIBE2", 0x10),
            ("RECONNECT_SEQ", 0x40),
            ("PGID64", 0x200),
            ("OSDREPLYMUX", 0x1000),
            ("OSDENC", 0x2000),
            ("SERVER_KRAKEN", 0x200_0000_0000_4000),
            ("SERVER_OCTOPUS", 0x200_0000_1001_0000),
            ("SERVER_PACIFIC", 0x200_0000_1010_0000),
            ("SERVER_LUMINOUS", 0x200_0000_0020_0000),
            ("MSG_AUTH", 0x80_0000),
            ("SERVER_MIMIC", 0x200_0000_1000_0000),
            ("MSGR_KEEPALIVE2", 0x400_0000_0000),
            ("SERVER_JEWEL", 0x200_0000_0000_0000),
            ("MON_STATEFUL_SUB", 0x200_0000_0000_0000),
            ("MSG_ADDR2", 0x800_0000_0000_0000),
            ("FS_BTIME", 0x800_0000_0000_0000),
            ("FS_CHANGE_ATTR", 0x800_0000_0000_0000),
            ("CEPHX_V2", 0x2000_0000_0000_0000),
        ] {
            assert_eq!(Features::from_name(name), Some(Features(mask)), "{name}");
        }
        assert_eq!(Features::from_name("SERVER"), None);
    }

    #[test]
    fn table_is_sorted_and_names_are_unique() {
        assert!(Features::TABLE.is_sorted_by_key(|row| (row.bit, row.incarnation)));
        let mut names: Vec<_> = Features::TABLE.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Features::TABLE.len());
        assert!((0..64).all(|bit| Features::TABLE.iter().any(|row| row.bit == bit)));
    }

    #[test]
    fn every_mask_is_named_by_its_own_name() {
        for row in Features::TABLE {
            let mask = Features(row.mask);
            assert!(names(mask).contains(&row.name), "{} not in {mask:?}", row.name);
            assert_eq!(mask.unnamed(), 0, "{mask:?}");
        }
    }

    #[test]
    fn whole_sets() {
        let added = Features::ALL_PACIFIC_16_2_7.missing(Features::ALL_PACIFIC);
        assert_eq!(added, Features(1 << 34));
        assert!(Features::ALL_PACIFIC.contains(Features::RANGE_BLOCKLIST));
        assert!(!Features::ALL_PACIFIC_16_2_7.contains(Features::RANGE_BLOCKLIST));

        let absent: Vec<u32> = (0..64).filter(|bit| Features::ALL_PACIFIC.0 >> bit & 1 == 0).collect();
        assert_eq!(absent, [17, 33, 38, 44, 45, 49, 50, 51, 52, 53, 54, 55, 62, 63]);

        for all in
            [Features::ALL_NAUTILUS, Features::ALL_PACIFIC_16_2_7, Features::ALL_PACIFIC, Features::ALL_REEF]
        {
            assert_eq!(all.unnamed(), 0, "{all:?}");
            assert!(all.contains(Features::SERVER_NAUTILUS | Features::MSG_ADDR2 | Features::CEPHX_V2));
            assert!(!all.contains(Features::RESERVED));
        }
    }

    #[test]
    fn recycled_bits() {
        let bit = Features(1 << 2);
        assert_eq!(names(bit), ["MONCLOCKCHECK"]);
        assert!(!bit.contains(Features::SERVER_NAUTILUS));
        assert_eq!(bit.missing(Features::SERVER_NAUTILUS), Features::SERVER_MIMIC);

        let with_markers = bit | Features::SERVER_MIMIC;
        assert!(with_markers.contains(Features::SERVER_NAUTILUS));
        assert!(names(with_markers).contains(&"SERVER_NAUTILUS"));
        assert!(!names(with_markers).contains(&"MONCLOCKCHECK"));
    }

    #[test]
    fn names_fit_the_release() {
        for (all, bit, name, not) in [
            (Features::ALL_NAUTILUS, 31, "MON_SINGLE_PAXOS", "SERVER_REEF"),
            (Features::ALL_NAUTILUS, 38, "OSD_ERASURE_CODES", "CRUSH_MSR"),
            (Features::ALL_NAUTILUS, 44, "ERASURE_CODE_PLUGINS_V2", "NVMEOFHA"),
            (Features::ALL_NAUTILUS, 50, "MON_METADATA", "SERVER_TENTACLE"),
            (Features::ALL_PACIFIC, 31, "MON_SINGLE_PAXOS", "SERVER_REEF"),
            (Features::ALL_REEF, 31, "SERVER_REEF", "MON_SINGLE_PAXOS"),
            (Features::ALL_REEF | Features::CRUSH_MSR, 38, "CRUSH_MSR", "OSD_ERASURE_CODES"),
        ] {
            assert!(all.contains(Features(1 << bit)));
            assert!(names(all).contains(&name), "{name} not in {all:?}");
            assert!(!names(all).contains(&not), "{not} in {all:?}");
        }
        assert!(names(Features::ALL_NAUTILUS).contains(&"SERVER_JEWEL"));
    }

    #[test]
    fn bits_without_a_name() {
        let newer = Features::ALL_REEF | Features(1 << 51);
        assert_eq!(newer.unnamed(), 1 << 51);
        assert!(format!("{newer:?}").ends_with(" CEPHX_V2 +0x8000000000000)"));
        assert_eq!(Features(1 << 51).unnamed(), 0);
    }

    #[test]
    fn wanted_by_a_monitor() {
        let wanted = Features(0x0401_0200_0204_0000);
        assert_eq!(
            names(wanted),
            [
                "CRUSH_TUNABLES",
                "CRUSH_TUNABLES2",
                "CRUSH_TUNABLES3",
                "OSD_PRIMARY_AFFINITY",
                "CRUSH_V4",
                "CRUSH_TUNABLES5",
                "NEW_OSDOPREPLY_ENCODING",
                "FS_FILE_LAYOUT_V2",
            ]
        );
        assert!(Features::ALL_PACIFIC.missing(wanted).is_empty());
    }

    #[test]
    fn set_operations() {
        let both = Features::UID | Features::MSG_AUTH;
        assert_eq!(both.bits(), 0x80_0001);
        assert_eq!(both & Features::UID, Features::UID);
        assert_eq!(both & !Features::UID, Features::MSG_AUTH);
        assert!(both.contains(Features::default()));
        assert!(Features::default().is_empty());
        assert_eq!(Features::default().names().next(), None);
    }

    #[test]
    fn text() {
        assert_eq!(Features::ALL_PACIFIC.to_string(), "0x3f01cfbdfffdffff");
        assert_eq!(format!("{:?}", Features(3)), "Features(0x3 UID NOSRCADDR)");
        assert_eq!(format!("{:?}", Features(0)), "Features(0x0)");
        assert_eq!(MsgrFeatures(3).to_string(), "0x3");
        assert_eq!(format!("{:?}", MsgrFeatures(7)), "MsgrFeatures(0x7 REVISION_1 COMPRESSION +0x4)");
    }

    #[test]
    fn msgr_features() {
        let both = MsgrFeatures::REVISION_1 | MsgrFeatures::COMPRESSION;
        assert_eq!(both, MsgrFeatures(3));
        assert_eq!(both.unnamed(), 0);
        assert_eq!(MsgrFeatures(4).unnamed(), 4);
        assert_eq!(MsgrFeatures::from_name("COMPRESSION").unwrap(), MsgrFeatures(2));
        assert_eq!(MsgrFeatures::REVISION_1.missing(both), MsgrFeatures::COMPRESSION);
    }
}
