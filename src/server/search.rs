//! What `GET /data_entries/` is asked for, read strictly: a filter that is not understood would be one that is not applied.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::refusal::Refusal;
use super::store::EntryFilter;

/// The types of data that can be asked for. Only the first is to be found here.
const KINDS: [&str; 12] = [
    "tool_state",
    "rheed",
    "rheed_image",
    "rheed_xscan",
    "xps",
    "xrd",
    "photoluminescence",
    "pl",
    "raman",
    "recipe",
    "optical",
    "ellipsometry",
];

/// The states that can be asked for. Not all of them come about here.
const STATUSES: [&str; 8] = [
    "success",
    "pending",
    "error",
    "running",
    "stream_active",
    "stream_interrupted",
    "stream_finalizing",
    "stream_error",
];

/// Reads the parameters of a search.
pub(super) fn filter(parameters: Vec<(String, String)>) -> Result<EntryFilter, Refusal> {
    let mut filter = EntryFilter::default();
    for (name, value) in parameters {
        match name.as_str() {
            "data_ids" => filter.data_ids.push(value),
            "physical_sample_ids" => filter.sample_ids.push(value),
            "project_ids" => filter.project_ids.push(value),
            "status" if value == "all" => {}
            "status" => filter.statuses.push(one_of(&STATUSES, &name, value)?),
            "data_type" => filter.kinds.push(one_of(&KINDS, &name, value)?),
            "keywords" => filter.keywords.push(value),
            "upload_datetime_min" => filter.uploaded.earliest = Some(instant(&name, &value)?),
            "upload_datetime_max" => filter.uploaded.latest = Some(instant(&name, &value)?),
            "last_updated_min" => filter.updated.earliest = Some(instant(&name, &value)?),
            "last_updated_max" => filter.updated.latest = Some(instant(&name, &value)?),
            "growth_length_min" | "growth_length_max" => {
                seconds(&name, &value)?;
                filter.of_growth_length = true;
            }
            // There is one organisation here, and its data are all there is.
            "include_organization_data" => truth(&name, &value)?,
            _ => return Err(Refusal::invalid(format!("the local platform cannot filter by `{name}`"))),
        }
    }
    Ok(filter)
}

fn one_of(known: &[&str], name: &str, value: String) -> Result<String, Refusal> {
    if known.contains(&value.as_str()) {
        return Ok(value);
    }
    Err(Refusal::invalid(format!("{name} is `{value}`, expected one of {}", known.join(", "))))
}

fn truth(name: &str, value: &str) -> Result<(), Refusal> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "false" | "1" | "0" => Ok(()),
        _ => Err(Refusal::invalid(format!("{name} is `{value}`, expected true or false"))),
    }
}

fn seconds(name: &str, value: &str) -> Result<(), Refusal> {
    match value.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() => Ok(()),
        _ => Err(Refusal::invalid(format!("{name} is `{value}`, expected a number of seconds"))),
    }
}

/// A time as ISO 8601 or Python's `str` writes it, or a date for its midnight. Without an offset it is UTC.
fn instant(name: &str, value: &str) -> Result<Timestamp, Refusal> {
    let without_offset =
        || value.parse::<DateTime>().and_then(|time| time.to_zoned(TimeZone::UTC)).map(|at| at.timestamp());
    value.parse().or_else(|_| without_offset()).map_err(|_| {
        Refusal::invalid(format!(
            "{name} is `{value}`, expected a time such as 2026-11-23T12:00:00Z (UTC without offset)"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_python_and_iso_write_them() {
        let noon = "2026-11-23T12:00:00.25Z".parse::<Timestamp>().unwrap();
        for text in [
            "2026-11-23 12:00:00.250000",
            "2026-11-23 12:00:00.250000+00:00",
            "2026-11-23 13:00:00.250000+01:00",
            "2026-11-23T12:00:00.25",
            "2026-11-23T07:00:00.25-05:00",
        ] {
            assert_eq!(instant("t", text).unwrap(), noon, "{text}");
        }
        assert_eq!(instant("t", "2026-11-23").unwrap(), "2026-11-23T00:00:00Z".parse().unwrap());
        for text in ["", "yesterday", "12:00", "1763856000"] {
            assert!(instant("t", text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (name, value) in [
            ("colour", "red"),
            ("status", "well"),
            ("data_type", "metrology"),
            ("growth_length_min", "long"),
            ("growth_length_max", "NaN"),
            ("include_organization_data", "perhaps"),
            ("last_updated_min", "yesterday"),
        ] {
            assert!(filter(vec![(name.to_owned(), value.to_owned())]).is_err(), "{name}={value}");
        }
    }
}
