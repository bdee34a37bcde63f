//! The rules of the stores: with all of them every promise holds in each state, and without any one
//! of them the search finds a broken promise.

use everfresh_model::stores::feed::{Anew, Feed, Reading};
use everfresh_model::stores::knows::Knows;
use everfresh_model::stores::{Scene, explore};

/// More states than any of these scenes has.
const MOST: usize = 400_000;

/// Visits all states, and more than `least`, and finds no broken promise.
fn holds<S: Scene>(name: &str, scene: &S, least: usize) {
    let explored = explore(scene, MOST);
    if let Some(failed) = explored.failed {
        panic!("{name}, after {} states:\n{failed}", explored.states);
    }
    eprintln!("{name}: holds, {} states", explored.states);
    assert!(explored.complete && explored.states > least, "{name}: {} states", explored.states);
}

/// Finds a trace of at most so many events to this promise.
fn violated<S: Scene>(name: &str, scene: &S, wrong: &str, longest: usize) {
    let explored = explore(scene, MOST);
    let Some(failed) = explored.failed else {
        panic!("{name}: nothing is found in {} states", explored.states)
    };
    eprintln!(
        "{name}: violated in {} events, {} states\n{failed}",
        failed.trace.len(),
        explored.states
    );
    assert_eq!(failed.wrong, wrong, "{name}:\n{failed}");
    assert!(failed.trace.len() <= longest, "{name}:\n{failed}");
}

const MISSED: &str = "the node never reads an end";
const LATE: &str = "a poll leaves out an end that is committed";

#[test]
fn a_node_reads_every_end_by_the_difference_of_two_snapshots() {
    let all = Feed::new();
    holds("four writers", &Feed { ends: 4, writers: 4, ..all }, 1_000);
    holds("beside a foreign transaction", &Feed { foreign: true, ..all }, 1_000);
    for page in [1, 2] {
        holds("in pages", &Feed { ends: 4, writers: 4, page, ..all }, 1_000);
    }
    holds("clock steps", &Feed { ticks: 2, step_back: 2, ..all }, 1_000);
    holds("after a loss", &Feed { loss: true, ..all }, 1_000);
}

#[test]
fn each_rule_of_the_feed_is_needed() {
    let all = Feed { prompt: false, ..Feed::new() };
    let reading = |reading| Feed { ends: 2, reading, ..all };
    violated("a sequence", &reading(Reading::Number), MISSED, 9);
    holds("a sequence and one writer", &Feed { writers: 1, ..reading(Reading::Number) }, 50);
    let timed = |back| Feed { commit: 2, ticks: 5, ..reading(Reading::Time(back)) };
    violated("time, commits longer", &timed(1), MISSED, 9);
    holds("time, commits within it", &timed(2), 500);
    violated("time, the clock steps", &Feed { step_back: 3, ..timed(2) }, MISSED, 9);
    violated("from xmax alone", &reading(Reading::OnlyFromXmax), MISSED, 9);
    violated("in progress alone", &reading(Reading::OnlyInProgress), MISSED, 9);

    let foreign = Feed { ends: 2, foreign: true, ..all };
    holds("below xmin", &Feed { reading: Reading::BelowXmin, ..foreign }, 500);
    let prompt = Feed { reading: Reading::BelowXmin, prompt: true, ..foreign };
    violated("below xmin, at once", &prompt, LATE, 9);
    holds("from xmin", &Feed { reading: Reading::FromXmin, prompt: true, ..foreign }, 500);

    let pages = Feed { page: 1, ..all };
    violated("the snapshot after the pages", &Feed { snapshot_first: false, ..pages }, MISSED, 12);
    violated("pages from xmax", &Feed { pages_from_xmin: false, ..pages }, MISSED, 12);
    violated("a standby", &Feed { primary: false, ..all }, MISSED, 9);
    for anew in [Anew::Never, Anew::LowerXmax, Anew::Timeline, Anew::Started] {
        violated(&format!("anew: {anew:?}"), &Feed { loss: true, anew, ..all }, MISSED, 12);
    }
}

#[test]
fn a_node_that_knows_of_an_end_lets_no_refresh_through_and_tells_the_store_again() {
    let all = Knows::new();
    holds("knows", &all, 1_000);
    let passed = "a node that knows of the end lets a refresh through";
    violated("no end again", &Knows { end_again: false, ..all }, passed, 6);
    let deleted = "a session that was never ended has lost its row";
    violated("a refusal counts", &Knows { only_ends: false, ..all }, deleted, 6);
    let stays = "a node that knows has noticed, and the row is still there";
    violated("not told again", &Knows { tell_again: false, ..all }, stays, 6);
}

/// The documented limit: only a synchronous standby prevents it.
#[test]
fn an_end_that_no_node_knows_any_more_is_lost_with_the_failover() {
    let lost = "a session is refreshed after its end";
    violated("every node", &Knows { every_node: true, ..Knows::new() }, lost, 6);
}
