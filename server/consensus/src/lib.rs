//! Replica groups as pure step functions, and the shard that drives many
