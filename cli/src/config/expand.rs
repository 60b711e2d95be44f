//! What do `$cluster` and its like stand for in a value?
//!
//! `$name` and `${name}` are replaced by what this process knows of itself, else by the value of the option of
//! that name, which may have some of its own. Everything else stays as it is, a dollar alone too. Ceph:
//! `md_config_t::expand_meta` in `src/common/config.cc`.

/// What a name stands for.
pub(super) enum Meaning {
    /// A text, as it is.
    Text(String),
    /// The value of an option, to be expanded in its turn.
    Option(String),
    /// `$home`: what stands before it is dropped, as in Ceph.
    Home(String),
}

/// Replaces the names in `text`; `meaning` is asked for each.
pub(super) fn expand(text: &str, meaning: &dyn Fn(&str) -> Option<Meaning>) -> String {
    inner(text, meaning, &mut Vec::new())
}

/// `stack` has the options whose values are being expanded.
fn inner(text: &str, meaning: &dyn Fn(&str) -> Option<Meaning>, stack: &mut Vec<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, written, next) = name(after);
        rest = next;
        match (!name.is_empty()).then(|| meaning(name)) {
            None => out.push('$'),
            Some(None) => {
                out.push('$');
                out.push_str(written);
            }
            Some(Some(Meaning::Text(value))) => out.push_str(&value),
            Some(Some(Meaning::Home(value))) => out = value,
            Some(Some(Meaning::Option(_))) if stack.iter().any(|option| option == name) => {
                // They go round in a circle.
                return format!("${name}");
            }
            Some(Some(Meaning::Option(value))) => {
                stack.push(name.to_owned());
                out.push_str(&inner(&value, meaning, stack));
                stack.pop();
            }
        }
    }
    out.push_str(rest);
    out
}

/// The name behind a dollar, how it is written, and what follows. Without a name, Ceph drops the brace and what
/// could have been one.
fn name(after: &str) -> (&str, &str, &str) {
    let end_of = |text: &str| {
        text.find(|char: char| !(char.is_ascii_lowercase() || char == '_')).unwrap_or(text.len())
    };
    let split = |at: usize| after.split_at_checked(at).unwrap_or((after, ""));
    let Some(braced) = after.strip_prefix('{') else {
        let (name, rest) = split(end_of(after));
        return (name, name, rest);
    };
    let end = end_of(braced);
    let (name, rest) = braced.split_at_checked(end).unwrap_or((braced, ""));
    match rest.strip_prefix('}') {
        Some(rest) => (name, split(end + 2).0, rest),
        None => ("", "", rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> String {
        expand(text, &|name| match name {
            "cluster" => Some(Meaning::Text("ceph".to_owned())),
            "home" => Some(Meaning::Home("/home/me".to_owned())),
            "run_dir" => Some(Meaning::Option("/run/$cluster".to_owned())),
            "this" => Some(Meaning::Option("a$that".to_owned())),
            "that" => Some(Meaning::Option("b$this".to_owned())),
            _ => None,
        })
    }

    #[test]
    fn names_become_values() {
        for (text, expected) in [
            ("", ""),
            ("$cluster", "ceph"),
            ("a$cluster.b${cluster}c", "aceph.bcephc"),
            ("$run_dir/x", "/run/ceph/x"),
            ("a$home/b", "/home/me/b"),
            ("$nosuch ${nosuch} $", "$nosuch ${nosuch} $"),
            ("$$cluster $1", "$ceph $1"),
            ("${cluster-x} ${}a", "$-x} $a"),
            ("${cluster", "$"),
        ] {
            assert_eq!(expanded(text), expected, "{text}");
        }
    }

    #[test]
    fn a_circle_is_left_where_it_closes() {
        assert_eq!(expanded("x$this"), "xa$this");
    }
}
