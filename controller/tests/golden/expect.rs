//! What the specification asks for, from the `# expect:` lines of an input (see `testdata/spec/README.md`).

use fairway_controller::status::Status;
use fairway_controller::{Statuses, Translation};

/// Every `# expect:` line of `text` that does not hold.
pub(crate) fn broken(text: &str, translation: &Translation, statuses: &Statuses) -> Vec<String> {
    let lines = text.lines().take_while(|line| line.starts_with('#'));
    lines
        .filter_map(|line| line.strip_prefix("# expect: "))
        .filter_map(|line| check(line, translation, statuses).err().map(|got| format!("{line} ({got})")))
        .collect()
}

fn check(line: &str, translation: &Translation, statuses: &Statuses) -> Result<(), String> {
    let (wanted, key) = match line.strip_prefix("no resource ") {
        Some(key) => (false, Some(key)),
        None => (true, line.strip_prefix("resource ")),
    };
    if let Some(key) = key {
        let key = key.parse()?;
        let there = translation.resources.contains_key(&key);
        return if there == wanted { Ok(()) } else { Err(format!("there: {there}")) };
    }
    let (place, want) = line.rsplit_once(": ").ok_or("no `: `")?;
    let (object, part) = place.split_once(' ').unwrap_or((place, ""));
    let status = statuses.0.iter().find(|(key, _)| key.to_string() == object).map(|(_, status)| &**status);
    if want == "none" {
        let silent = status.is_none_or(|status| status.conditions().is_empty());
        return if silent { Ok(()) } else { Err(format!("{status:?}")) };
    }
    let status = status.ok_or("no status")?;
    if let Some((field @ ("attachedRoutes" | "supportedKinds"), want)) = want.split_once('=') {
        let listeners = match status {
            Status::Gateway(gateway) => &gateway.listeners,
            Status::ListenerSet(set) => &set.listeners,
            _ => return Err("no Gateway or ListenerSet".into()),
        };
        let name = part.strip_prefix("listener ").ok_or("no listener named")?;
        let listener = listeners.iter().find(|l| l.name == name).ok_or("no such listener")?;
        let got = match field {
            "attachedRoutes" => listener.attached_routes.to_string(),
            _ => listener.supported_kinds.iter().map(|kind| kind.kind).collect::<Vec<_>>().join(","),
        };
        return if got == want { Ok(()) } else { Err(got) };
    }
    if let Some(count) = want.strip_prefix("attachedListenerSets=") {
        let Status::Gateway(gateway) = status else { return Err("not a Gateway".into()) };
        let got = gateway.attached_listener_sets.to_string();
        return if got == count { Ok(()) } else { Err(got) };
    }
    let conditions = status.conditions();
    let at = conditions.iter().find(|(at, _)| at == part);
    let (_, here) =
        at.ok_or_else(|| format!("there are {:?}", conditions.iter().map(|c| &c.0).collect::<Vec<_>>()))?;
    let (kind, want) = want.split_once('=').ok_or("no `=`")?;
    let condition = here.iter().find(|c| c.r#type == kind).ok_or_else(|| format!("no {kind} in {here:?}"))?;
    let got = format!("{:?}/{}", condition.status, condition.reason);
    let holds = want.strip_suffix('*').map_or(got == want, |start| got.starts_with(start));
    if holds { Ok(()) } else { Err(format!("{got}: {}", condition.message)) }
}
