//! Examples, and properties against prost.
