//! What the specification says of a case, as `# expect:` comments in its input: regenerating outputs cannot
//! make a wrong answer right. See `testdata/spec/README.md`.

use fairway_controller::Translation;
use fairway_controller::status::Status;

/// Every expectation of an input that `translation` does not meet, with what is there instead.
pub(crate) fn disappointments(text: &str, translation: &Translation) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# expect:"))
        .filter_map(|line| {
            check(line.trim(), translation).err().map(|found| format!("{}: {found}", line.trim()))
        })
        .collect()
}

fn check(line: &str, translation: &Translation) -> Result<(), String> {
    let has = |key: &str| translation.resources.keys().any(|k| k.to_string() == key);
    if let Some(key) = line.strip_prefix("no resource ") {
        return if has(key) { Err("is there".into()) } else { Ok(()) };
    }
    if let Some(key) = line.strip_prefix("resource ") {
        return if has(key) { Ok(()) } else { Err("is not there".into()) };
    }
    let (subject, wanted) = line.rsplit_once(": ").ok_or("is no expectation")?;
    let (object, place) = subject.split_once(' ').unwrap_or((subject, ""));
    let status =
        translation.statuses.0.iter().find(|(key, _)| key.to_string() == object).map(|(_, status)| &**status);
    let conditions = status.map(Status::conditions).unwrap_or_default();
    if wanted == "none" {
        return if conditions.is_empty() { Ok(()) } else { Err(format!("there is {status:?}")) };
    }
    if let Some(count) = wanted.strip_prefix("attachedRoutes=") {
        let Some(Status::Gateway(gateway)) = status else { return Err("there is no such Gateway".into()) };
        let listener = gateway.listeners.iter().find(|l| place == format!("listener {}", l.name));
        let found = listener.map(|listener| listener.attached_routes.to_string());
        return if found.as_deref() == Some(count) { Ok(()) } else { Err(format!("there is {found:?}")) };
    }
    let Some((_, conditions)) = conditions.iter().find(|(at, _)| at == place) else {
        let places: Vec<_> = conditions.iter().map(|(place, _)| place).collect();
        return Err(format!("no such place; there is {places:?}"));
    };
    let (r#type, value) = wanted.split_once('=').ok_or("is no expectation")?;
    let (truth, reason) = value.split_once('/').ok_or("is no expectation")?;
    let found = conditions.iter().find(|condition| condition.r#type == r#type);
    match found {
        Some(c) if format!("{:?}", c.status) == truth && (reason == "*" || c.reason == reason) => Ok(()),
        other => Err(format!("there is {other:?}")),
    }
}
