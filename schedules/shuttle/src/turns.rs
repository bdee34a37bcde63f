//! The scheduler: shuttle selects among requests, the tasks that let calls pass, and the task that
//! runs tokio.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use everfresh::ManualClock;
use shuttle::future::{block_on, spawn, yield_now};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// How many tasks let calls pass, each in its own order.
const HANDS: usize = 3;

/// A handle: clones share the turns.
#[derive(Clone)]
pub(crate) struct Turns {
    runtime: Arc<Runtime>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Calls wait for their turn. They don't before and after a schedule.
    on: bool,
    calls: VecDeque<oneshot::Sender<()>>,
    hands: Vec<Waker>,
    driver: Option<Waker>,
    /// How many turns tokio may need until its tasks are idle.
    rounds: usize,
    over: bool,
}

impl Turns {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            // One task per turn.
            .event_interval(1)
            .build()
            .unwrap();
        Self { runtime: Arc::new(runtime), state: Arc::default() }
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Waits for the turn of a call to the store or to the provider.
    pub(crate) async fn turn(&self) {
        let turn = {
            let mut state = self.state();
            if !state.on {
                return;
            }
            let (call, turn) = oneshot::channel();
            state.calls.push_back(call);
            state.hands.drain(..).for_each(Waker::wake);
            turn
        };
        let _ = turn.await;
    }

    /// An event happened that tokio's tasks may wait for.
    fn kick(&self) {
        let rounds = 2 * self.runtime.metrics().num_alive_tasks() + 4;
        let mut state = self.state();
        state.rounds = state.rounds.max(rounds);
        if let Some(driver) = state.driver.take() {
            driver.wake();
        }
    }

    /// Lets calls pass, one after the other.
    async fn let_pass(self) {
        loop {
            let next = poll_fn(|cx| {
                let mut state = self.state();
                match state.calls.pop_front() {
                    Some(call) => Poll::Ready(Some(call)),
                    None if state.over => Poll::Ready(None),
                    None => {
                        state.hands.push(cx.waker().clone());
                        Poll::Pending
                    }
                }
            });
            let Some(call) = next.await else { return };
            // Another task may be first.
            yield_now().await;
            let _ = call.send(());
            self.kick();
        }
    }

    /// Runs the tasks that the engines spawned.
    async fn drive(self) {
        loop {
            let goes_on = poll_fn(|cx| {
                let mut state = self.state();
                match state.rounds.checked_sub(1) {
                    Some(left) => {
                        state.rounds = left;
                        Poll::Ready(true)
                    }
                    None if state.over => Poll::Ready(false),
                    None => {
                        state.driver = Some(cx.waker().clone());
                        Poll::Pending
                    }
                }
            });
            if !goes_on.await {
                return;
            }
            self.runtime.block_on(tokio::task::yield_now());
            yield_now().await;
        }
    }

    /// Advances both clocks.
    pub(crate) fn pass(&self, clock: &ManualClock, time: Duration) {
        clock.advance(time);
        self.runtime.block_on(tokio::time::advance(time));
        self.kick();
    }

    /// Runs until the given number of spawned tasks is left. A task that never ends fails the
    /// schedule by its step limit.
    pub(crate) async fn settle(&self, left: usize) {
        while self.runtime.metrics().num_alive_tasks() > left {
            self.kick();
            yield_now().await;
        }
    }

    /// Plays a scene in an order that shuttle selects. shuttle reports a deadlock if every task
    /// waits forever.
    pub(crate) fn play<T>(&self, scene: impl Future<Output = T>) -> T {
        self.state().on = true;
        let hands = [(); HANDS].map(|()| spawn(self.clone().let_pass()));
        let driver = spawn(self.clone().drive());
        let outcome = block_on(scene);
        let wakers = {
            let mut state = self.state();
            (state.on, state.over) = (false, true);
            let driver = state.driver.take();
            state.hands.drain(..).chain(driver).collect::<Vec<_>>()
        };
        wakers.into_iter().for_each(Waker::wake);
        for task in hands.into_iter().chain([driver]) {
            block_on(task).unwrap();
        }
        outcome
    }

    /// A request that continues at its turn, until the test drops it. `None`: it was dropped.
    pub(crate) fn send<F: Future>(&self, request: F) -> (Sent<F>, Line) {
        let line = Line::default();
        (Sent { turns: self.clone(), request: Some(Box::pin(request)), line: line.clone() }, line)
    }
}

/// The client's connection during a request.
#[derive(Clone, Default)]
pub(crate) struct Line(Arc<Mutex<(bool, Option<Waker>)>>);

impl Line {
    pub(crate) fn hang_up(&self) {
        let mut line = self.0.lock().unwrap();
        line.0 = true;
        if let Some(waker) = line.1.take() {
            waker.wake();
        }
    }
}

/// A pending request.
pub(crate) struct Sent<F> {
    turns: Turns,
    request: Option<Pin<Box<F>>>,
    line: Line,
}

impl<F: Future> Future for Sent<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut line = this.line.0.lock().unwrap();
        if line.0 {
            this.request = None;
        }
        line.1 = Some(cx.waker().clone());
        drop(line);
        let polled = match &mut this.request {
            Some(request) => request.as_mut().poll(cx).map(Some),
            None => Poll::Ready(None),
        };
        this.turns.kick();
        polled
    }
}
