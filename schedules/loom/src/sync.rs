//! The types under the single flight, as in the core, but from loom.

pub(crate) use std::sync::PoisonError;

pub(crate) use loom::sync::{Mutex, MutexGuard};

/// The part of tokio's channel that a flight needs. tokio's own can't be used, because it wakes
/// waiting tasks in a random order, and loom must be able to repeat an order.
pub(crate) mod watch {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::task::{Poll, Waker};

    use loom::sync::Mutex;

    #[derive(Debug)]
    struct State<T> {
        value: T,
        /// The sender is gone.
        closed: bool,
        waiting: Vec<Waker>,
    }

    type Shared<T> = Arc<Mutex<State<T>>>;

    #[derive(Debug)]
    pub(crate) struct Sender<T>(Shared<T>);

    #[derive(Clone, Debug)]
    pub(crate) struct Receiver<T>(Shared<T>);

    pub(crate) fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
        let state = State { value, closed: false, waiting: Vec::new() };
        let shared = Arc::new(Mutex::new(state));
        (Sender(shared.clone()), Receiver(shared))
    }

    /// Changes the state, and then wakes all waiting tasks.
    fn change<T, R>(shared: &Shared<T>, change: impl FnOnce(&mut State<T>) -> R) -> R {
        let (changed, waiting) = {
            let mut state = shared.lock().unwrap();
            (change(&mut state), std::mem::take(&mut state.waiting))
        };
        waiting.into_iter().for_each(Waker::wake);
        changed
    }

    impl<T> Sender<T> {
        pub(crate) fn subscribe(&self) -> Receiver<T> {
            Receiver(self.0.clone())
        }

        pub(crate) fn send_replace(&self, value: T) -> T {
            change(&self.0, |state| std::mem::replace(&mut state.value, value))
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            // A failed model tries no further orders.
            if !std::thread::panicking() {
                change(&self.0, |state| state.closed = true);
            }
        }
    }

    impl<T: Clone> Receiver<T> {
        pub(crate) fn same_channel(&self, other: &Self) -> bool {
            Arc::ptr_eq(&self.0, &other.0)
        }

        /// The value as soon as `such` holds for it. `None`: the sender is gone.
        pub(crate) async fn wait_for(&mut self, such: impl Fn(&T) -> bool) -> Option<T> {
            poll_fn(|cx| {
                let mut state = self.0.lock().unwrap();
                if such(&state.value) {
                    return Poll::Ready(Some(state.value.clone()));
                }
                if state.closed {
                    return Poll::Ready(None);
                }
                state.waiting.push(cx.waker().clone());
                Poll::Pending
            })
            .await
        }
    }
}
