//! Errors as people read them.

use std::error::Error;

/// An error with all its causes in one line: `could not open the port: Permission denied`. A cause that only repeats what
/// has been said is left out.
pub fn with_causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("could not listen: address in use")]
    struct Repeats(#[source] std::io::Error);

    #[test]
    fn each_thing_is_said_once() {
        let cause = || std::io::Error::other("address in use");
        assert_eq!(with_causes(&Repeats(cause())), "could not listen: address in use");
        assert_eq!(with_causes(&std::io::Error::other(Repeats(cause()))), "could not listen: address in use");
    }
}
