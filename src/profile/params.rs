//! Parameters: what a lab fills into a profile.

use std::collections::BTreeMap;

use regex::Regex;

use crate::document::did_you_mean;

use super::schema::ParamType;

/// A parameter of a profile. It is used as `{name}` in messages, patterns, units and numbers.
#[derive(Debug, Clone)]
pub struct Param {
    /// What it can be.
    pub kind: ParamType,
    /// What it is where the lab says nothing.
    pub default: Option<String>,
    /// What it has to be one of, if there are any.
    pub choices: Vec<String>,
    /// What it has to look like.
    pub(super) pattern: Option<Regex>,
}

/// A parameter that does not fit its profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// The profile has no such parameter.
    #[error("the profile `{profile}` has no parameter `{name}`")]
    Unknown {
        /// The profile.
        profile: String,
        /// The parameter.
        name: String,
        /// What could have been meant.
        help: String,
    },
    /// The profile can't do without it.
    #[error("the profile `{profile}` needs the parameter `{name}`")]
    Missing {
        /// The profile.
        profile: String,
        /// The parameter.
        name: String,
    },
    /// A value that it can't have.
    #[error("`{value}` can't be the parameter `{name}`: {why}")]
    Invalid {
        /// The parameter.
        name: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// The profile makes no sense with these values, though each of them alone is allowed.
    #[error("the profile `{profile}` can't be used with these parameters: {why}")]
    Unusable {
        /// The profile.
        profile: String,
        /// What is wrong.
        why: String,
    },
}

impl ParamError {
    /// The parameter that it is about, where it is about one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Unknown { name, .. } | Self::Missing { name, .. } | Self::Invalid { name, .. } => Some(name),
            Self::Unusable { .. } => None,
        }
    }

    /// What to do about it; empty where the message says it all.
    pub fn help(&self) -> &str {
        match self {
            Self::Unknown { help, .. } => help,
            _ => "",
        }
    }
}

impl Param {
    /// Says what is wrong with a value, if anything.
    pub(super) fn objection(&self, value: &str) -> Option<String> {
        let fits = match self.kind {
            ParamType::String => true,
            ParamType::Int => value.parse::<i64>().is_ok(),
            ParamType::Float => value.parse::<f64>().is_ok_and(f64::is_finite),
        };
        if !fits {
            let kind = if self.kind == ParamType::Int { "a whole number" } else { "a number" };
            return Some(format!("it has to be {kind}"));
        }
        // What could be taken for a token, a field or a terminator would change the shape of messages.
        if !value.bytes().all(|b| (0x20..0x7F).contains(&b) && !b"{}<>".contains(&b)) {
            return Some("it has to be printable ASCII without `{`, `}`, `<` and `>`".to_owned());
        }
        if !self.choices.is_empty() && !self.choices.iter().any(|choice| choice == value) {
            return Some(did_you_mean(value, "choices", self.choices.iter().map(String::as_str)));
        }
        match &self.pattern {
            Some(pattern) if !pattern.is_match(value) => Some(format!("it has to match `{}`", shown(pattern))),
            _ => None,
        }
    }

    /// A value to try the profile with before a lab has said anything.
    pub(super) fn sample(&self) -> String {
        self.default.clone().or_else(|| self.choices.first().cloned()).unwrap_or_else(|| "1".to_owned())
    }
}

/// The pattern without the anchors that make it match the whole value.
fn shown(pattern: &Regex) -> &str {
    let text = pattern.as_str();
    text.strip_prefix("^(?:").and_then(|text| text.strip_suffix(")$")).unwrap_or(text)
}

/// Puts the lab's values and the defaults together.
pub(super) fn fill_in(
    profile: &str,
    params: &BTreeMap<String, Param>,
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Vec<ParamError>> {
    let mut errors = Vec::new();
    let mut filled = BTreeMap::new();
    for (name, value) in given {
        match params.get(name) {
            None => errors.push(ParamError::Unknown {
                profile: profile.to_owned(),
                name: name.clone(),
                help: did_you_mean(name, "parameters", params.keys().map(String::as_str)),
            }),
            Some(param) => match param.objection(value) {
                Some(why) => errors.push(ParamError::Invalid { name: name.clone(), value: value.clone(), why }),
                None => drop(filled.insert(name.clone(), value.clone())),
            },
        }
    }
    for (name, param) in params {
        if !given.contains_key(name) {
            match &param.default {
                Some(default) => drop(filled.insert(name.clone(), default.clone())),
                None => errors.push(ParamError::Missing { profile: profile.to_owned(), name: name.clone() }),
            }
        }
    }
    if errors.is_empty() { Ok(filled) } else { Err(errors) }
}
