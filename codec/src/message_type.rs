//! What does the number in a message header's `type` field stand for?
//!
//! The numbers of Ceph 14 to 20. A type has three names here: the associated constant (`OSD_REPOP`), Ceph's
//! own constant (`MSG_OSD_REPOP`), and the name its messages print of themselves (`osd_repop`, what
//! `get_type_name()` returns). The printed name is often, not always, the first word of the message in Ceph's
//! log: the log has `osd_map(…)` for type `osdmap`, `client_request(…)` for `creq`.
//!
//! Ceph reuses two printed names: a command's and a pool statistics request's reply print like the request.
//! A type whose name changed has the newer one: `peer_request` was `slave_request` up to Ceph 15. Left out:
//! 0x205, `MSG_MDS_INODEUPDATE`, which is reserved, but no message has it.

use core::fmt;

/// The `type` of a message header. Any number is valid; many have no name.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct MessageType(pub u16);

/// One row per type: number, prefix and rest of Ceph's constant, printed name.
macro_rules! message_types {
    ($($number:literal $prefix:ident $constant:ident $name:literal;)*) => {
        impl MessageType {
            $(
                #[doc = concat!(
                    "`", stringify!($prefix), stringify!($constant), "`, printed as `", $name, "`."
                )]
                pub const $constant: Self = Self($number);
            )*
        }

        /// Number, Ceph's constant, printed name; sorted by number.
        const TABLE: &[(MessageType, &str, &str)] = &[
            $((MessageType::$constant, concat!(stringify!($prefix), stringify!($constant)), $name),)*
        ];
    };
}

message_types! {
    // anyone
    1 CEPH_MSG_ SHUTDOWN "generic1";
    2 CEPH_MSG_ PING "ping";
    // monitors and their clients
    4 CEPH_MSG_ MON_MAP "mon_map";
    5 CEPH_MSG_ MON_GET_MAP "mon_getmap";
    6 CEPH_MSG_ MON_GET_OSDMAP "mon_get_osdmap";
    7 CEPH_MSG_ MON_METADATA "mon_metadata";
    13 CEPH_MSG_ STATFS "statfs";
    14 CEPH_MSG_ STATFS_REPLY "statfs_reply";
    15 CEPH_MSG_ MON_SUBSCRIBE "mon_subscribe";
    16 CEPH_MSG_ MON_SUBSCRIBE_ACK "mon_subscribe_ack";
    17 CEPH_MSG_ AUTH "auth";
    18 CEPH_MSG_ AUTH_REPLY "auth_reply";
    19 CEPH_MSG_ MON_GET_VERSION "mon_get_version";
    20 CEPH_MSG_ MON_GET_VERSION_REPLY "mon_get_version_reply";
    // mds and its clients
    21 CEPH_MSG_ MDS_MAP "mdsmap";
    22 CEPH_MSG_ CLIENT_SESSION "client_session";
    23 CEPH_MSG_ CLIENT_RECONNECT "client_reconnect";
    24 CEPH_MSG_ CLIENT_REQUEST "creq";
    25 CEPH_MSG_ CLIENT_REQUEST_FORWARD "client_request_forward";
    26 CEPH_MSG_ CLIENT_REPLY "creply";
    27 CEPH_MSG_ CLIENT_RECLAIM "client_reclaim";
    28 CEPH_MSG_ CLIENT_RECLAIM_REPLY "client_reclaim_reply";
    29 CEPH_MSG_ CLIENT_METRICS "client_metrics";
    // maps, osd and its clients
    40 MSG_ PAXOS "PaxosServiceMessage";
    41 CEPH_MSG_ OSD_MAP "osdmap";
    42 CEPH_MSG_ OSD_OP "osd_op";
    43 CEPH_MSG_ OSD_OPREPLY "osd_op_reply";
    44 CEPH_MSG_ WATCH_NOTIFY "watch-notify";
    45 CEPH_MSG_ FS_MAP "fsmap";
    // monitors: forwarding, pools, commands, log, configuration
    46 MSG_ FORWARD "forward";
    47 MSG_ ROUTE "route";
    48 CEPH_MSG_ POOLOP_REPLY "poolopreply";
    49 CEPH_MSG_ POOLOP "poolop";
    50 MSG_ MON_COMMAND "mon_command";
    51 MSG_ MON_COMMAND_ACK "mon_command";
    52 MSG_ LOG "log";
    53 MSG_ LOGACK "log_ack";
    54 MSG_ KV_DATA "kv_data";
    58 MSG_ GETPOOLSTATS "getpoolstats";
    59 MSG_ GETPOOLSTATSREPLY "getpoolstats";
    60 MSG_ MON_GLOBAL_ID "global_id";
    // osd and its clients
    61 CEPH_MSG_ OSD_BACKOFF "osd_backoff";
    // monitors: configuration
    62 MSG_ CONFIG "config";
    63 MSG_ GET_CONFIG "get_config";
    // among monitors
    64 MSG_ MON_SCRUB "mon_scrub";
    65 MSG_ MON_ELECTION "election";
    66 MSG_ MON_PAXOS "paxos";
    67 MSG_ MON_PROBE "mon_probe";
    68 MSG_ MON_JOIN "mon_join";
    69 MSG_ MON_SYNC "mon_sync";
    // osd to monitors and other osds
    70 MSG_ OSD_PING "osd_ping";
    71 MSG_ OSD_BOOT "osd_boot";
    72 MSG_ OSD_FAILURE "osd_failure";
    73 MSG_ OSD_ALIVE "osd_alive";
    74 MSG_ OSD_MARK_ME_DOWN "MOSDMarkMeDown";
    75 MSG_ OSD_FULL "osd_full";
    // monitors and osd
    76 MSG_ MON_GET_PURGED_SNAPS "mon_get_purged_snaps";
    77 MSG_ MON_GET_PURGED_SNAPS_REPLY "mon_get_purged_snaps_reply";
    // osd to monitors and other osds
    78 MSG_ OSD_PGTEMP "osd_pgtemp";
    79 MSG_ OSD_BEACON "osd_beacon";
    80 MSG_ OSD_PG_NOTIFY "PGnot";
    81 MSG_ OSD_PG_QUERY "pg_query";
    83 MSG_ OSD_PG_LOG "PGlog";
    84 MSG_ OSD_PG_REMOVE "PGrm";
    85 MSG_ OSD_PG_INFO "pg_info";
    86 MSG_ OSD_PG_TRIM "pg_trim";
    87 MSG_ PGSTATS "pg_stats";
    88 MSG_ PGSTATSACK "pg_stats_ack";
    89 MSG_ OSD_PG_CREATE "pg_create";
    90 MSG_ REMOVE_SNAPS "remove_snaps";
    91 MSG_ OSD_SCRUB "scrub";
    92 MSG_ OSD_SCRUB_RESERVE "MOSDScrubReserve";
    93 MSG_ OSD_REP_SCRUB "replica scrub";
    94 MSG_ OSD_PG_SCAN "pg_scan";
    95 MSG_ OSD_PG_BACKFILL "pg_backfill";
    96 MSG_ OSD_PG_BACKFILL_REMOVE "backfill_remove";
    // commands to a daemon
    97 MSG_ COMMAND "command";
    98 MSG_ COMMAND_REPLY "command_reply";
    // among osds
    99 MSG_ OSD_BACKFILL_RESERVE "MBackfillReserve";
    // mds to monitors, among mds
    100 MSG_ MDS_BEACON "mdsbeacon";
    101 MSG_ MDS_PEER_REQUEST "peer_request";
    102 MSG_ MDS_TABLE_REQUEST "mds_table_request";
    // monitors and their clients
    103 CEPH_MSG_ FS_MAP_USER "fsmap.user";
    // among osds, mgr to osd
    105 MSG_ OSD_PG_PUSH "MOSDPGPush";
    106 MSG_ OSD_PG_PULL "MOSDPGPull";
    107 MSG_ OSD_PG_PUSH_REPLY "MOSDPGPushReply";
    108 MSG_ OSD_EC_WRITE "MOSDECSubOpWrite";
    109 MSG_ OSD_EC_WRITE_REPLY "MOSDECSubOpWriteReply";
    110 MSG_ OSD_EC_READ "MOSDECSubOpRead";
    111 MSG_ OSD_EC_READ_REPLY "MOSDECSubOpReadReply";
    112 MSG_ OSD_REPOP "osd_repop";
    113 MSG_ OSD_REPOPREPLY "osd_repop_reply";
    114 MSG_ OSD_PG_UPDATE_LOG_MISSING "PGUpdateLogMissing";
    115 MSG_ OSD_PG_UPDATE_LOG_MISSING_REPLY "PGUpdateLogMissingReply";
    116 MSG_ OSD_PG_CREATED "pg_created";
    117 MSG_ OSD_REP_SCRUBMAP "rep_scrubmap";
    118 MSG_ OSD_PG_RECOVERY_DELETE "recovery_delete";
    119 MSG_ OSD_PG_RECOVERY_DELETE_REPLY "recovery_delete_reply";
    120 MSG_ OSD_PG_CREATE2 "pg_create2";
    121 MSG_ OSD_SCRUB2 "scrub2";
    122 MSG_ OSD_PG_READY_TO_MERGE "osd_pg_ready_to_merge";
    123 MSG_ OSD_MARK_ME_DEAD "MOSDMarkMeDead";
    130 MSG_ OSD_PG_NOTIFY2 "pg_notify2";
    131 MSG_ OSD_PG_QUERY2 "pg_query2";
    132 MSG_ OSD_PG_INFO2 "pg_info2";
    133 MSG_ OSD_PG_LEASE "pg_lease";
    134 MSG_ OSD_PG_LEASE_ACK "pg_lease_ack";
    // among mds
    135 MSG_ MDS_SCRUB "mds_scrub";
    // among osds
    136 MSG_ OSD_PG_PCT "PGPCT";
    // among monitors
    140 MSG_ MON_PING "mon_ping";
    141 MSG_ MON_USED_PENDING_KEYS "used_pending_keys";
    // among osds
    150 MSG_ OSD_RECOVERY_RESERVE "MRecoveryReserve";
    151 MSG_ OSD_FORCE_RECOVERY "force_recovery";
    // among mds: cache
    0x200 MSG_ MDS_RESOLVE "mds_resolve";
    0x201 MSG_ MDS_RESOLVEACK "resolve_ack";
    0x202 MSG_ MDS_CACHEREJOIN "cache_rejoin";
    0x203 MSG_ MDS_DISCOVER "Dis";
    0x204 MSG_ MDS_DISCOVERREPLY "discover_reply";
    0x206 MSG_ MDS_DIRUPDATE "dir_update";
    0x207 MSG_ MDS_CACHEEXPIRE "cache_expire";
    0x208 MSG_ MDS_DENTRYUNLINK "dentry_unlink";
    0x209 MSG_ MDS_FRAGMENTNOTIFY "fragment_notify";
    0x20a MSG_ MDS_OFFLOAD_TARGETS "mds_load_targets";
    0x20c MSG_ MDS_DENTRYLINK "dentry_link";
    0x20d MSG_ MDS_FINDINO "findino";
    0x20e MSG_ MDS_FINDINOREPLY "findinoreply";
    0x20f MSG_ MDS_OPENINO "openino";
    0x210 MSG_ MDS_OPENINOREPLY "openinoreply";
    0x211 MSG_ MDS_SNAPUPDATE "snap_update";
    0x212 MSG_ MDS_FRAGMENTNOTIFYACK "fragment_notify_ack";
    // among mds: locks
    0x300 MSG_ MDS_LOCK "ILock";
    0x301 MSG_ MDS_INODEFILECAPS "inode_file_caps";
    // mds and its clients
    0x310 CEPH_MSG_ CLIENT_CAPS "Cfcap";
    0x311 CEPH_MSG_ CLIENT_LEASE "client_lease";
    0x312 CEPH_MSG_ CLIENT_SNAP "client_snap";
    0x313 CEPH_MSG_ CLIENT_CAPRELEASE "client_cap_release";
    0x314 CEPH_MSG_ CLIENT_QUOTA "client_quota";
    // among mds: subtree migration
    0x449 MSG_ MDS_EXPORTDIRDISCOVER "ExDis";
    0x450 MSG_ MDS_EXPORTDIRDISCOVERACK "ExDisA";
    0x451 MSG_ MDS_EXPORTDIRCANCEL "ExCancel";
    0x452 MSG_ MDS_EXPORTDIRPREP "ExP";
    0x453 MSG_ MDS_EXPORTDIRPREPACK "ExPAck";
    0x454 MSG_ MDS_EXPORTDIRWARNING "ExW";
    0x455 MSG_ MDS_EXPORTDIRWARNINGACK "ExWAck";
    0x456 MSG_ MDS_EXPORTDIR "Ex";
    0x457 MSG_ MDS_EXPORTDIRACK "ExAck";
    0x458 MSG_ MDS_EXPORTDIRNOTIFY "ExNot";
    0x459 MSG_ MDS_EXPORTDIRNOTIFYACK "ExNotA";
    0x460 MSG_ MDS_EXPORTDIRFINISH "ExFin";
    0x470 MSG_ MDS_EXPORTCAPS "export_caps";
    0x471 MSG_ MDS_EXPORTCAPSACK "export_caps_ack";
    0x472 MSG_ MDS_GATHERCAPS "gather_caps";
    // among mds: load, metrics, scrub, quiescing
    0x500 MSG_ MDS_HEARTBEAT "HB";
    0x501 MSG_ MDS_METRICS "mds_metrics";
    0x502 MSG_ MDS_PING "mdsping";
    0x503 MSG_ MDS_SCRUB_STATS "mds_scrub_stats";
    0x505 MSG_ MDS_QUIESCE_DB_LISTING "mds_quiesce_db_listing";
    0x506 MSG_ MDS_QUIESCE_DB_ACK "mds_quiesce_db_ack";
    // monitors, and special ones
    0x600 MSG_ TIMECHECK "time_check";
    0x601 MSG_ MON_HEALTH "mon_health";
    0x602 MSG_ DATA_PING "data_ping";
    0x607 MSG_ NOP "MNop";
    0x608 MSG_ MON_HEALTH_CHECKS "mon_health_checks";
    0x609 MSG_ TIMECHECK2 "time_check2";
    // mgr
    0x700 MSG_ MGR_OPEN "mgropen";
    0x701 MSG_ MGR_CONFIGURE "mgrconfigure";
    0x702 MSG_ MGR_REPORT "mgrreport";
    0x703 MSG_ MGR_BEACON "mgrbeacon";
    0x704 MSG_ MGR_MAP "mgrmap";
    0x705 MSG_ MGR_DIGEST "mgrdigest";
    0x706 MSG_ MON_MGR_REPORT "monmgrreport";
    0x707 MSG_ SERVICE_MAP "service_map";
    0x708 MSG_ MGR_CLOSE "mgrclose";
    0x709 MSG_ MGR_COMMAND "mgr_command";
    0x70a MSG_ MGR_COMMAND_REPLY "mgr_command_reply";
    0x70b MSG_ MGR_UPDATE "mgrupdate";
    // monitors and nvmeof gateways
    0x800 MSG_ MNVMEOF_GW_MAP "nvmeofgwmap";
    0x801 MSG_ MNVMEOF_GW_BEACON "nvmeofgwbeacon";
}

impl MessageType {
    fn row(self) -> Option<&'static (Self, &'static str, &'static str)> {
        TABLE.binary_search_by_key(&self, |row| row.0).ok().and_then(|index| TABLE.get(index))
    }

    /// The name messages of this type print of themselves, such as `osd_op`.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.row().map(|row| row.2)
    }

    /// The word that a message of this type begins with in Ceph's log: nearly always its [`name`](Self::name).
    #[must_use]
    pub fn log_name(self) -> Option<&'static str> {
        match self {
            Self::CLIENT_REQUEST => Some("client_request"),
            Self::CLIENT_REPLY => Some("client_reply"),
            Self::OSD_MAP => Some("osd_map"),
            Self::MON_COMMAND_ACK => Some("mon_command_ack"),
            Self::LOGACK => Some("log"),
            Self::OSD_PG_NOTIFY => Some("pg_notify"),
            Self::OSD_PG_CREATED => Some("osd_pg_created"),
            Self::CLIENT_CAPS => Some("client_caps"),
            _ => self.name(),
        }
    }

    /// Ceph's constant, such as `CEPH_MSG_OSD_OP`.
    #[must_use]
    pub fn constant(self) -> Option<&'static str> {
        self.row().map(|row| row.1)
    }

    /// The type with this printed name; of the two types that share one, the request.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.2 == name).map(|row| row.0)
    }

    /// All known types, by number: type, Ceph's constant, printed name.
    pub fn all() -> impl Iterator<Item = (Self, &'static str, &'static str)> {
        TABLE.iter().copied()
    }
}

/// The printed name, or `type(70)` for a number without one.
impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "type({})", self.0),
        }
    }
}

/// Number and name: `MessageType(42 osd_op)`.
impl fmt::Debug for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "MessageType({} {name})", self.0),
            None => write!(f, "MessageType({})", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types that print like another one.
    const REPLIES: [MessageType; 2] = [MessageType::MON_COMMAND_ACK, MessageType::GETPOOLSTATSREPLY];

    #[test]
    fn numbers_are_sorted_and_unique() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn names_and_constants_are_unique() {
        let mut constants: Vec<_> = MessageType::all().map(|(_, constant, _)| constant).collect();
        constants.sort_unstable();
        assert!(constants.is_sorted_by(|a, b| a < b));

        let mut names: Vec<_> = MessageType::all()
            .filter(|(number, ..)| !REPLIES.contains(number))
            .map(|(.., name)| name)
            .collect();
        names.sort_unstable();
        assert!(names.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn name_and_number_round_trip() {
        for (number, constant, name) in MessageType::all() {
            assert_eq!(number.name(), Some(name));
            assert_eq!(number.constant(), Some(constant));
            assert_eq!(number.to_string(), name);
            assert_eq!(MessageType::from_name(name) == Some(number), !REPLIES.contains(&number), "{name}");
        }
    }

    #[test]
    fn known_types() {
        for (number, constant, name) in [
            (2, "CEPH_MSG_PING", "ping"),
            (4, "CEPH_MSG_MON_MAP", "mon_map"),
            (18, "CEPH_MSG_AUTH_REPLY", "auth_reply"),
            (41, "CEPH_MSG_OSD_MAP", "osdmap"),
            (42, "CEPH_MSG_OSD_OP", "osd_op"),
            (70, "MSG_OSD_PING", "osd_ping"),
            (112, "MSG_OSD_REPOP", "osd_repop"),
            (0x310, "CEPH_MSG_CLIENT_CAPS", "Cfcap"),
            (0x704, "MSG_MGR_MAP", "mgrmap"),
        ] {
            assert_eq!(MessageType(number).constant(), Some(constant));
            assert_eq!(MessageType(number).name(), Some(name));
        }
        assert_eq!(MessageType::MON_COMMAND_ACK.name(), Some("mon_command"));
        assert_eq!(MessageType::from_name("mon_command"), Some(MessageType::MON_COMMAND));
        assert_eq!(MessageType::from_name("getpoolstats"), Some(MessageType::GETPOOLSTATS));
    }

    #[test]
    fn text() {
        assert_eq!(MessageType::OSD_OP.to_string(), "osd_op");
        assert_eq!(format!("{:>8}", MessageType::OSD_OP), "  osd_op");
        assert_eq!(format!("{:?}", MessageType::OSD_OP), "MessageType(42 osd_op)");
        assert_eq!(MessageType(0xffff).to_string(), "type(65535)");
        assert_eq!(format!("{:?}", MessageType(0xffff)), "MessageType(65535)");
        assert_eq!(MessageType(0xffff).name(), None);
        assert_eq!(MessageType(0xffff).constant(), None);
        assert_eq!(MessageType::from_name("type(65535)"), None);
    }
}
