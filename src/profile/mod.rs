//! Profiles: what the files under `devices/` say about instrument families.
