//! What handlers meet, by the same names in every framework: adapters make these types their own,
//! since only who owns a type can make it an extractor or a response.

/// For adapters: `Claims`, `Rejection` and `Error`, and with `Session` also that.
#[doc(hidden)]
#[macro_export]
macro_rules! handler_types {
    (Session) => {
        $crate::handler_types!();

        /// The session of this request: [`everfresh::Session`](::everfresh::Session), to which it
        /// dereferences.
        ///
        /// Rejects only where the layer is missing: 500.
        pub struct Session<C>(pub $crate::Session<C>);

        impl<C> ::std::ops::Deref for Session<C> {
            type Target = $crate::Session<C>;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }

        impl<C> ::std::clone::Clone for Session<C> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }

        impl<C> ::std::fmt::Debug for Session<C> {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
    () => {
        /// The claims of whoever is signed in.
        ///
        /// Rejects with 401, 403 or 503, and with 500 where the layer is missing.
        pub struct Claims<C>(pub ::std::sync::Arc<C>);

        /// An answer of [`everfresh::Rejection`](::everfresh::Rejection), in this framework.
        #[derive(Clone, Debug)]
        pub struct Rejection(pub $crate::Rejection);

        /// For handlers that use `?` on what a session answers: an error that is a response.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub enum Error {
            /// From `sign_in`, `sign_out`, `refresh` and `access_token`.
            Session($crate::SessionError),
            /// From `claims`, `require` and `expires`.
            Rejection($crate::Rejection),
        }

        impl Error {
            fn into_rejection(self) -> Rejection {
                Rejection(match self {
                    Self::Session(error) => error.into(),
                    Self::Rejection(rejection) => rejection,
                })
            }
        }

        impl ::std::convert::From<$crate::SessionError> for Error {
            fn from(error: $crate::SessionError) -> Self {
                Self::Session(error)
            }
        }

        impl ::std::convert::From<$crate::Rejection> for Error {
            fn from(rejection: $crate::Rejection) -> Self {
                Self::Rejection(rejection)
            }
        }

        impl ::std::convert::From<$crate::Rejection> for Rejection {
            fn from(rejection: $crate::Rejection) -> Self {
                Self(rejection)
            }
        }

        impl ::std::fmt::Display for Rejection {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl ::std::fmt::Display for Error {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                match self {
                    Self::Session(error) => error.fmt(f),
                    Self::Rejection(rejection) => rejection.fmt(f),
                }
            }
        }

        impl ::std::error::Error for Error {}

        impl<C> ::std::ops::Deref for Claims<C> {
            type Target = C;

            fn deref(&self) -> &C {
                &self.0
            }
        }

        impl<C> ::std::clone::Clone for Claims<C> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }

        impl<C> ::std::fmt::Debug for Claims<C> {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str("Claims(..)")
            }
        }
    };
}
