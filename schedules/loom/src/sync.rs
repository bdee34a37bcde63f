//! The types that the single flight is made of, as in the core, but loom's.

pub(crate) use std::sync::PoisonError;

pub(crate) use loom::sync::{Mutex, MutexGuard};

/// As much of tokio's channel as a flight needs. tokio's own can't be used: which of two who wait it
/// wakes first is by chance, and loom has to be able to run the same order again.
pub(crate) mod watch {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::task::{Poll, Waker};

    use loom::sync::Mutex;

    #[derive(Debug)]
    struct State<T> {
        value: T,
        /// Whoever would send is gone.
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

    /// Changes the state, and then wakes all who wait.
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
            // A model that has failed has no more orders to try.
            if !std::thread::panicking() {
                change(&self.0, |state| state.closed = true);
            }
        }
    }

    impl<T: Clone> Receiver<T> {
        pub(crate) fn same_channel(&self, other: &Self) -> bool {
            Arc::ptr_eq(&self.0, &other.0)
        }

        /// The value as soon as it is such a one. None: nobody is there any more to send it.
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
