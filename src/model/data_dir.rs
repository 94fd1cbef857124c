//! Where data is kept if nobody says where.

use std::path::PathBuf;

/// Under systemd the unit's state directory, else `mbe-bridge` in `$XDG_STATE_HOME`, which is `~/.local/state` as a rule.
/// `environment` looks up a variable.
pub fn usual_data_dir(environment: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    let variable = |name| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("STATE_DIRECTORY")
        .or_else(|| variable("XDG_STATE_HOME").map(|home| home.join("mbe-bridge")))
        .or_else(|| variable("HOME").map(|home| home.join(".local/state/mbe-bridge")))
        .unwrap_or_else(|| PathBuf::from("/var/lib/mbe-bridge"))
}
