//! The nearest right word to a wrong one.

/// The candidate that the word was most likely meant to be, if any is near.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let allowed = 1 + word.chars().count() / 4;
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A hint: the nearest candidate, or all of them.
pub fn did_you_mean<'a>(word: &str, what: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(candidate) = nearest(word, candidates.clone()) {
        return format!("did you mean `{candidate}`?");
    }
    let all: Vec<String> = candidates.into_iter().map(|candidate| format!("`{candidate}`")).collect();
    if all.is_empty() { format!("there are no {what}") } else { format!("{what}: {}", all.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_offered() {
        let keys = ["every", "name", "profile", "unit"];
        assert_eq!(nearest("evry", keys), Some("every"));
        assert_eq!(nearest("proflie", keys), Some("profile"));
        assert_eq!(nearest("Unit", keys), Some("unit"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(did_you_mean("colour", "known keys", keys), "known keys: `every`, `name`, `profile`, `unit`");
        assert_eq!(did_you_mean("colour", "parameters", []), "there are no parameters");
    }
}
