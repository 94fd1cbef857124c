//! Bodies of the small requests, and lenient readers of replies.
//!
//! Replies are looked into, not deserialized: a field that no later call needs may be missing, new or of another type.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::ChannelTotal;
use super::GatewayTime;
use super::GrowthInstrument;
use super::Named;
use super::NewGrowthInstrument;
use super::PlatformError;
use super::reply::shown;
use crate::model::StreamSpec;

#[derive(Serialize)]
pub(super) struct Initialize<'a> {
    stream_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    synth_source_id: Option<i64>,
    points_per_chunk: usize,
    project_id: Option<&'a str>,
}

impl<'a> Initialize<'a> {
    pub(super) fn new(spec: &'a StreamSpec) -> Self {
        Self {
            stream_name: Some(spec.name.as_str()).filter(|name| !name.trim().is_empty()),
            synth_source_id: spec.synth_source_id,
            points_per_chunk: spec.points_per_chunk,
            project_id: spec.project_id.as_deref(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct NewInstrument<'a> {
    label: &'a str,
    name: &'a str,
    r#type: &'a str,
    serial_id: Option<&'a str>,
}

impl<'a> NewInstrument<'a> {
    pub(super) fn new(new: &'a NewGrowthInstrument) -> Self {
        Self { label: &new.label, name: &new.name, r#type: &new.sort, serial_id: new.serial_id.as_deref() }
    }
}

#[derive(Serialize)]
pub(super) struct NewNamed<'a> {
    pub(super) name: &'a str,
}

#[derive(Serialize)]
pub(super) struct LinkSample<'a> {
    pub(super) data_ids: [&'a str; 1],
    pub(super) physical_sample_id: &'a str,
}

#[derive(Serialize)]
pub(super) struct TrackSample<'a> {
    pub(super) physical_sample_id: &'a str,
    pub(super) set_active: bool,
}

#[derive(Serialize)]
pub(super) struct LinkTags<'a> {
    pub(super) data_ids: [&'a str; 1],
    pub(super) tag_ids: &'a [String],
}

/// An id: text, or a number written as text.
pub(super) fn id(reply: &Value, key: &str) -> Option<String> {
    match reply.get(key)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// An id that has to be there, under the first of these keys that has one.
pub(super) fn needed_id(reply: &Value, keys: &[&str]) -> Result<String, PlatformError> {
    keys.iter().find_map(|key| id(reply, key)).ok_or_else(|| bad(&format!("`{}`", keys.join("` or `")), reply))
}

/// The id that a refused creation names as the one that has the name already.
pub(super) fn taken_id(body: &[u8]) -> Option<String> {
    let reply: Value = serde_json::from_slice(body).ok()?;
    id(reply.get("detail")?, "physical_sample_id")
}

/// The growth instrument's number that a creation replies with.
pub(super) fn synth_source_id(reply: &Value) -> Result<i64, PlatformError> {
    number_id(reply).ok_or_else(|| bad("`synth_source_id`", reply))
}

fn number_id(reply: &Value) -> Option<i64> {
    id(reply, "synth_source_id")?.parse().ok()
}

pub(super) fn growth_instruments(reply: &Value) -> Result<Vec<GrowthInstrument>, PlatformError> {
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    let instrument = |entry: &Value| {
        Some(GrowthInstrument {
            synth_source_id: number_id(entry)?,
            name: text(entry, "source_name").unwrap_or_default(),
            sort: text(entry, "synth_source_type").unwrap_or_default(),
            manufacturer: text(entry, "source_manufacturer"),
            model: text(entry, "source_model"),
        })
    };
    Ok(list(reply)?.iter().filter_map(instrument).collect())
}

pub(super) fn named(reply: &Value) -> Result<Vec<Named>, PlatformError> {
    let one = |entry: &Value| {
        let name = entry.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Named { id: id(entry, "id")?, name })
    };
    Ok(list(reply)?.iter().filter_map(one).collect())
}

/// What the reply to a chunk says of each channel. It has to name as many channels as the chunk brought, for a chunk counts
/// as delivered on the strength of it: whoever else answers with success (a portal, a proxy) does not name them. How the
/// platform wraps and spells them, and what else it says, is left to it.
pub(super) fn totals(reply: &Value, sent: usize) -> Result<Vec<ChannelTotal>, PlatformError> {
    let mut found = BTreeMap::new();
    name_channels(reply, &mut found);
    if found.len() < sent {
        return Err(bad(&format!("`channel_name` of {sent} channels"), reply));
    }
    Ok(found.into_iter().map(|(name, total_points)| ChannelTotal { name, total_points }).collect())
}

/// The same for a reply of the usual form, without looking at each of its values; none if it is of another, or does not
/// suffice.
pub(super) fn usual_totals(reply: &[u8], sent: usize) -> Option<Vec<ChannelTotal>> {
    #[derive(serde::Deserialize)]
    struct Usual {
        channel_name: String,
        total_points: Option<u64>,
    }
    let mut all: Vec<Usual> = serde_json::from_slice(reply).ok()?;
    all.sort_unstable_by(|a, b| a.channel_name.cmp(&b.channel_name));
    all.dedup_by(|a, b| a.channel_name == b.channel_name);
    let suffices = all.len() >= sent && all.iter().all(|one| !one.channel_name.is_empty());
    let total = |one: Usual| ChannelTotal { name: one.channel_name, total_points: one.total_points };
    suffices.then(|| all.into_iter().map(total).collect())
}

/// Collects every object that names a channel, however deep. The depth is bounded by what is read as JSON at all.
fn name_channels(reply: &Value, found: &mut BTreeMap<String, Option<u64>>) {
    match reply {
        Value::Array(all) => all.iter().for_each(|one| name_channels(one, found)),
        Value::Object(object) => match object.get("channel_name").and_then(Value::as_str) {
            Some(name) if !name.is_empty() => {
                found.insert(name.to_owned(), object.get("total_points").and_then(Value::as_u64));
            }
            _ => object.values().for_each(|one| name_channels(one, found)),
        },
        _ => {}
    }
}

pub(super) fn gateway_time(reply: &Value) -> Result<GatewayTime, PlatformError> {
    let stamp = |key: &str| reply.get(key).and_then(Value::as_f64).ok_or_else(|| bad(&format!("`{key}`"), reply));
    Ok(GatewayTime { received_ms: stamp("receivedAtUnixMs")?, transmitted_ms: stamp("transmittedAtUnixMs")? })
}

fn list(reply: &Value) -> Result<&Vec<Value>, PlatformError> {
    reply.as_array().ok_or_else(|| bad("a list", reply))
}

fn bad(expected: &str, reply: &Value) -> PlatformError {
    PlatformError::BadReply { what: format!("expected {expected}, got `{}`", shown(&reply.to_string(), 200)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_unset_is_null_or_left_out_as_the_platform_wants_it() {
        let spec = StreamSpec { points_per_chunk: 100, ..StreamSpec::default() };
        let body = serde_json::to_value(Initialize::new(&spec)).unwrap();
        assert_eq!(body, json!({"stream_name": null, "points_per_chunk": 100, "project_id": null}));
        let spec = StreamSpec { name: "GEN10".into(), synth_source_id: Some(42), project_id: Some("p".into()), ..spec };
        let body = serde_json::to_value(Initialize::new(&spec)).unwrap();
        let expected =
            json!({"stream_name": "GEN10", "synth_source_id": 42, "points_per_chunk": 100, "project_id": "p"});
        assert_eq!(body, expected);
    }

    #[test]
    fn a_usual_reply_says_the_same_whichever_way_it_is_read() {
        let usual = json!([
            {"data_id": "d", "channel_name": "b \"q\"", "chunk_index": 3, "total_points": 7},
            {"channel_name": "a", "total_points": null},
        ]);
        let quick = usual_totals(usual.to_string().as_bytes(), 2).unwrap();
        assert_eq!(quick, totals(&usual, 2).unwrap());
        for odd in
            [json!([{"channel_name": "a"}, {"channel_name": "a"}]), json!([{"channel_name": ""}]), json!({"a": []})]
        {
            assert_eq!(usual_totals(odd.to_string().as_bytes(), 2), None, "{odd}");
        }
    }

    #[test]
    fn odd_totals_are_no_error() {
        let total = |total_points| ChannelTotal { name: "a".into(), total_points };
        for (odd, expected) in [
            (json!([{"channel_name": "a", "total_points": 7}]), Some(7)),
            (json!([{"channel_name": "a", "total_points": "many"}, 7, null]), None),
            (json!([{"channel_name": "a", "total_points": -1}]), None),
            (json!({"channel_name": "a"}), None),
            (json!({"channels": [{"channel_name": "a", "total_points": 3}], "took_ms": 5}), Some(3)),
        ] {
            assert_eq!(totals(&odd, 1).unwrap(), [total(expected)], "{odd}");
        }
    }

    #[test]
    fn what_does_not_name_the_channels_is_no_reply_to_a_chunk() {
        for wrong in [
            Value::Null,
            json!({}),
            json!([]),
            json!({"status": "ok"}),
            json!({"detail": "no such stream"}),
            json!([7, "a"]),
            json!([{"channel_name": ""}, {"channel_name": null}]),
            json!([{"channel_name": "a"}]),
            json!([{"channel_name": "a"}, {"channel_name": "a"}]),
        ] {
            let error = totals(&wrong, 2).unwrap_err();
            assert!(error.is_transient(), "{error}");
            let expected = "the platform's answer can't be read: expected `channel_name` of 2 channels, got `";
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }

    #[test]
    fn ids_may_be_numbers_and_have_to_be_there() {
        assert_eq!(needed_id(&json!({"id": 12}), &["physical_sample_id", "id"]).unwrap(), "12");
        let error = needed_id(&json!({"data_id": null}), &["data_id"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the platform's answer can't be read: expected `data_id`, got `{\"data_id\":null}`"
        );
        assert_eq!(taken_id(br#"{"detail": {"physical_sample_id": "s-1"}}"#).as_deref(), Some("s-1"));
        assert_eq!(taken_id(b"taken"), None);
    }

    #[test]
    fn entries_that_can_not_be_named_are_skipped() {
        let reply = json!([{"id": "a", "name": "x"}, {"name": "no id"}, {"id": "b", "name": null}]);
        let ids: Vec<String> = named(&reply).unwrap().into_iter().map(|entry| entry.id).collect();
        assert_eq!(ids, ["a", "b"]);
        assert!(named(&json!({"items": []})).is_err());
    }
}
