//! Members of JSON objects, by path.

use serde_json::{Map, Value};

/// Returns the member at a path, if it is there.
pub(crate) fn find<'v>(object: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    if let Some(member) = object.get(path) {
        return Some(member);
    }
    let (first, rest) = path.split_once('.')?;
    let step = |value: &'v Value, name: &str| match value {
        Value::Object(object) => object.get(name),
        Value::Array(array) => array.get(name.parse::<usize>().ok()?),
        _ => None,
    };
    rest.split('.').try_fold(object.get(first)?, step)
}

/// Puts a member at a path. A member on the way that is not an object is replaced by one.
pub(crate) fn insert(object: &mut Map<String, Value>, path: &str, value: Value) {
    let Some((first, rest)) = path.split_once('.') else {
        object.insert(path.to_owned(), value);
        return;
    };
    let inner = object.entry(first).or_insert_with(|| Value::Object(Map::new()));
    if !inner.is_object() {
        *inner = Value::Object(Map::new());
    }
    if let Value::Object(inner) = inner {
        insert(inner, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_member_is_found_where_it_was_put() {
        let mut object = Map::new();
        for path in ["a", "b.c", "b.d.e", "f"] {
            insert(&mut object, path, path.into());
        }
        let expected = json!({"a": "a", "b": {"c": "b.c", "d": {"e": "b.d.e"}}, "f": "f"});
        assert_eq!(Value::Object(object.clone()), expected);
        for path in ["a", "b.c", "b.d.e", "f"] {
            assert_eq!(find(&object, path), Some(&path.into()));
        }
        for path in ["", ".", "b.", ".a", "a.b", "b.c.d", "b.x", "x.b"] {
            assert_eq!(find(&object, path), None, "{path}");
        }
    }

    #[test]
    fn a_whole_name_comes_first_and_numbers_are_indices() {
        let Value::Object(object) = json!({"a.b": 1, "a": {"b": 2, "c": [3, {"d": 4}]}}) else {
            unreachable!("an object")
        };
        assert_eq!(find(&object, "a.b"), Some(&1.into()));
        assert_eq!(find(&object, "a.c.0"), Some(&3.into()));
        assert_eq!(find(&object, "a.c.1.d"), Some(&4.into()));
        assert_eq!(find(&object, "a.c.2"), None);
        assert_eq!(find(&object, "a.c.-1"), None);
    }
}
