//! The table of settings.

use std::collections::BTreeSet;

use super::*;

#[test]
fn rows_are_well_formed() {
    assert!(SETTINGS.len() <= 60, "a broker has at most 60 settings");
    let mut keys = BTreeSet::new();
    let mut flags = BTreeSet::new();
    for setting in SETTINGS {
        let key = setting.key;
        let (section, name) = setting.parts();
        assert!(!section.is_empty() && !name.is_empty() && !name.contains("__"), "{key}");
        assert!(keys.insert(key), "{key} is there twice");
        assert!(flags.insert(setting.flag), "{key}: its flag is there twice");
        assert!(!setting.help.ends_with('.'), "{key}: help ends without a full stop");
        if let Field::Integer(_, max, Integer::U32(_)) = setting.field {
            assert!(u32::try_from(max).is_ok(), "{key}: the bound does not fit");
        }
    }
}

#[test]
fn each_setting_has_a_place_of_its_own() {
    let defaults = Settings::defaults();
    let others = [
        "127.0.0.1:1",
        "http://127.0.0.1:1",
        "7",
        "7s",
        "64KiB",
        "40MiB",
        "false",
        "json",
        "memory",
        "warn",
        "0.5",
    ];
    for setting in SETTINGS {
        let mut settings = defaults.clone();
        let changed = others
            .iter()
            .any(|other| setting.field.set(&mut settings, other).is_ok() && settings != defaults);
        assert!(changed, "{}: no value changes it", setting.key);
        for other in SETTINGS.iter().filter(|other| other.key != setting.key) {
            let before = other.field.literal(&defaults);
            assert_eq!(before, other.field.literal(&settings), "{} moved too", other.key);
        }
    }
}
