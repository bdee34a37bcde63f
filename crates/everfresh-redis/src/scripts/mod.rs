//! One script per step. Each script runs as a whole or not at all, and accesses one key.

use std::sync::LazyLock;

use redis::Script;

/// The first line makes a server strict. The server refuses a script that accesses keys of two
/// nodes of a cluster, and refuses a script that adds to a full memory before the script starts.
macro_rules! scripts {
    ($($name:ident $file:literal $($flags:literal)?)*) => {
        $(
            pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
                Script::new(concat!(
                    "#!lua ", $($flags,)? "\n", include_str!("row.lua"), include_str!($file),
                ))
            });
        )*
    };
}

scripts! {
    CREATE "create.lua"
    LOAD "load.lua" "flags=no-writes"
    LIVE "live.lua" "flags=no-writes"
    ROTATE "rotate.lua"
    CONFIRM "confirm.lua"
    REVOKE "revoke.lua" "flags=allow-oom"
    END "end.lua" "flags=allow-oom"
    RESERVE "reserve.lua"
    RELEASE "release.lua"
    PUBLISH "publish.lua"
    ENTER "enter.lua"
    TELL "tell.lua" "flags=allow-oom"
}
