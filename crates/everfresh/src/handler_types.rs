//! The types that handlers use, by the same names in every framework. Each adapter defines its own
//! copy, because only the crate that owns a type can implement a framework's traits for extractors
//! and responses.

/// Defines the types that handlers use, in the crate of an adapter: `Claims`, `Rejection` and
/// `Error`, and with the argument `Session` the newtype of that name. Only the crate that owns a
/// type can implement a framework's traits for it, so each adapter has its own copies.
///
/// ```
/// everfresh::adapter::handler_types!(Session);
///
/// /// What a framework's extractor calls.
/// fn claims<C: everfresh::ClaimSet>(session: &Session<C>) -> Result<Claims<C>, Rejection> {
///     Ok(Claims(session.claims()?))
/// }
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! handler_types {
    (Session) => {
        $crate::adapter::handler_types!();

        /// The session of this request. Dereferences to
        /// [`everfresh::Session`](::everfresh::Session).
        ///
        /// Rejects with 500 if the layer is missing, and in no other case.
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
        /// The claims of the signed-in user.
        ///
        /// Rejects with 401, 403 or 503, and with 500 if the layer is missing.
        pub struct Claims<C>(pub ::std::sync::Arc<C>);

        /// An [`everfresh::Rejection`](::everfresh::Rejection) as a response of this framework.
        #[derive(Clone, Debug)]
        pub struct Rejection(pub $crate::Rejection);

        /// The error of handlers that use `?` on the methods of a session. Converts to a response.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub enum Error {
            /// From `sign_in`, `sign_out`, `refresh` and `access_token`.
            Session($crate::SessionError),
            /// From `claims`, `require` and `watch`.
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
