//! The macro behind the ordered list in `lib.rs`: what carries policies ([`PolicySet`](crate::PolicySet),
//! [`SecuritySet`](crate::SecuritySet), [`TrafficSet`](crate::TrafficSet)) and how they behave ([`Guards`](crate::Guards), [`Chain`](crate::Chain)) follow
//! from one line per policy.

/// `shared`: a rule's filters and a SecurityPolicy say it alike; `security`: only a SecurityPolicy does; `traffic`: only a
/// BackendTrafficPolicy does; `native`: only a rule does. They run in this order.
macro_rules! registry {
    (
        shared { $( $(#[$shared_doc:meta])* $shared:ident : $shared_policy:ty ),* $(,)? }
        security { $( $(#[$guard_doc:meta])* $guard:ident : $guard_policy:ty ),* $(,)? }
        traffic { $( $(#[$traffic_doc:meta])* $traffic:ident : $traffic_policy:ty ),* $(,)? }
        native { $( $(#[$native_doc:meta])* $native:ident : $native_policy:ty ),* $(,)? }
    ) => {
        registry! { @set "The policies of one rule or one backend, as data." PolicySet
            $( $(#[$shared_doc])* $shared: $shared_policy, )* $( $(#[$native_doc])* $native: $native_policy, )*
        }
        registry! { @set "What a SecurityPolicy says, as data." SecuritySet
            $( $(#[$shared_doc])* $shared: $shared_policy, )* $( $(#[$guard_doc])* $guard: $guard_policy, )*
        }
        registry! { @set "What a BackendTrafficPolicy says, as data." TrafficSet
            $( $(#[$traffic_doc])* $traffic: $traffic_policy, )*
        }
        registry! { @chain
            $( $shared: $shared_policy, )* $( $guard: $guard_policy, )* $( $traffic: $traffic_policy, )*
            $( $native: $native_policy, )*
        }

        impl PolicySet {
            /// Compiles every policy that is set.
            ///
            /// # Errors
            /// The first policy that cannot be compiled, with its name.
            pub fn compile(&self, lookup: &dyn $crate::Lookup) -> Result<Chain, (&'static str, $crate::Invalid)> {
                Ok(Chain::of(Filters {
                    is_refusing: false,
                    $( $shared: registry!(@compile self lookup $shared), )*
                    $( $guard: None, )*
                    $( $traffic: None, )*
                    $( $native: registry!(@compile self lookup $native), )*
                }))
            }
        }

        impl $crate::Parts for SecuritySet {
            registry! { @parts SecuritySet }

            fn compile(&self, lookup: &dyn $crate::Lookup) -> Result<Guards, (&'static str, $crate::Invalid)> {
                Ok(Guards {
                    $( $shared: registry!(@compile self lookup $shared), )*
                    $( $guard: registry!(@compile self lookup $guard), )*
                    $( $traffic: None, )*
                })
            }
        }

        impl $crate::Parts for TrafficSet {
            registry! { @parts TrafficSet }

            fn compile(&self, lookup: &dyn $crate::Lookup) -> Result<Guards, (&'static str, $crate::Invalid)> {
                Ok(Guards {
                    $( $shared: None, )*
                    $( $guard: None, )*
                    $( $traffic: registry!(@compile self lookup $traffic), )*
                })
            }
        }

        /// A compiled [`SecuritySet`] or [`TrafficSet`], or what several of both come to. Its filters are shared by all
        /// chains that they are part of.
        #[derive(Debug, Clone, Default)]
        pub struct Guards {
            $( $shared: Option<std::sync::Arc<<$shared_policy as $crate::Policy>::Filter>>, )*
            $( $guard: Option<std::sync::Arc<<$guard_policy as $crate::Policy>::Filter>>, )*
            $( $traffic: Option<std::sync::Arc<<$traffic_policy as $crate::Policy>::Filter>>, )*
        }

        impl $crate::Inherit for Guards {
            fn inherit(&mut self, parent: &Self) {
                $( if self.$shared.is_none() { self.$shared.clone_from(&parent.$shared); } )*
                $( if self.$guard.is_none() { self.$guard.clone_from(&parent.$guard); } )*
                $( if self.$traffic.is_none() { self.$traffic.clone_from(&parent.$traffic); } )*
            }
        }

        impl Chain {
            /// What of the chain attached policies have a say in.
            #[must_use]
            pub fn guards(&self) -> Guards {
                let Some(filters) = &self.0 else { return Guards::default() };
                Guards {
                    $( $shared: filters.$shared.clone(), )*
                    $( $guard: filters.$guard.clone(), )*
                    $( $traffic: filters.$traffic.clone(), )*
                }
            }

            /// The chain with these guards instead of its own.
            #[must_use]
            pub fn guarded(&self, guards: Guards) -> Self {
                let native = self.0.as_deref();
                Self::of(Filters {
                    is_refusing: native.is_some_and(|native| native.is_refusing),
                    $( $shared: guards.$shared, )*
                    $( $guard: guards.$guard, )*
                    $( $traffic: guards.$traffic, )*
                    $( $native: native.and_then(|native| native.$native.clone()), )*
                })
            }
        }
    };

    (@parts $set:ident) => {
        const NAMES: &'static [&'static str] = $set::NAMES;

        fn names(&self) -> Vec<&'static str> {
            self.names()
        }

        fn backends(&self) -> Vec<&$crate::BackendRef> {
            self.backends()
        }

        fn objects(&self) -> Vec<&$crate::ObjectRef> {
            self.objects()
        }

        fn notes(&self) -> Vec<String> {
            self.notes()
        }
    };

    (@compile $self:ident $lookup:ident $name:ident) => {
        $self.$name.as_ref()
            .map(|policy| $crate::Policy::compile(policy, $lookup).map_err(|invalid| (stringify!($name), invalid)))
            .transpose()?
            .map(std::sync::Arc::new)
    };

    (@set $set_doc:literal $set:ident $( $(#[$doc:meta])* $name:ident : $policy:ty, )*) => {
        #[doc = $set_doc]
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $set { $(
            $(#[$doc])*
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub $name: Option<$policy>,
        )* }

        impl $set {
            /// Names of all there are, in the order they run.
            pub const NAMES: &'static [&'static str] = &[$( stringify!($name) ),*];

            /// Names of the policies that are set, in the order they run.
            #[must_use]
            pub fn names(&self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $( if self.$name.is_some() { names.push(stringify!($name)); } )*
                names
            }

            /// True when no policy is set.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                true $( && self.$name.is_none() )*
            }

            /// Every backend any policy points at.
            #[must_use]
            pub fn backends(&self) -> Vec<&$crate::BackendRef> {
                let mut refs = Vec::new();
                $( if let Some(policy) = &self.$name { refs.extend($crate::Policy::backends(policy)); } )*
                refs
            }

            /// What whoever wrote them should know although nothing is wrong.
            #[must_use]
            pub fn notes(&self) -> Vec<String> {
                let mut notes = Vec::new();
                $( if let Some(policy) = &self.$name { notes.extend($crate::Policy::notes(policy)); } )*
                notes
            }

            /// Every Secret and ConfigMap any policy points at.
            #[must_use]
            pub fn objects(&self) -> Vec<&$crate::ObjectRef> {
                let mut refs = Vec::new();
                $( if let Some(policy) = &self.$name { refs.extend($crate::Policy::objects(policy)); } )*
                refs
            }
        }

        impl $crate::Inherit for $set {
            fn inherit(&mut self, parent: &Self) {
                $( if self.$name.is_none() { self.$name.clone_from(&parent.$name); } )*
            }
        }
    };

    (@chain $( $name:ident : $policy:ty, )*) => {
        /// Compiled policies: immutable, shared by every request of a rule; a clone is the same chain. Dispatch is
        /// static. A filter that is not set costs one pointer and one test, and so does a chain without any: most rules
        /// have none.
        #[derive(Debug, Clone, Default)]
        pub struct Chain(Option<std::sync::Arc<Filters>>);

        #[derive(Debug)]
        struct Filters {
            is_refusing: bool,
            $( $name: Option<std::sync::Arc<<$policy as $crate::Policy>::Filter>>, )*
        }

        /// What the filters of one [`Chain`] remember of one request.
        #[derive(Debug, Default)]
        pub struct ChainState {
            /// How many filters of the list ran before a reply: only those see the response.
            ran: u8,
            $( $name: <<$policy as $crate::Policy>::Filter as $crate::Filter>::State, )*
        }

        impl Chain {
            /// A chain that refuses every request, for a policy that cannot be followed.
            #[must_use]
            pub fn refusing() -> Self {
                Self(Some(std::sync::Arc::new(Filters { is_refusing: true, $( $name: None, )* })))
            }

            /// True when a filter calls a backend, so that [`Context::net`]($crate::Context::net) has to be there.
            #[must_use]
            pub fn calls(&self) -> bool {
                let Some(filters) = &self.0 else { return false };
                false $( || filters.$name.as_deref().is_some_and($crate::Filter::calls) )*
            }

            /// True when a filter tells routes apart, so that [`Context::route`]($crate::Context::route) has to be there.
            #[must_use]
            pub fn is_by_route(&self) -> bool {
                let Some(filters) = &self.0 else { return false };
                false $( || <<$policy as $crate::Policy>::Filter as $crate::Filter>::BY_ROUTE && filters.$name.is_some() )*
            }

            /// True when a filter reads the body, so that [`Context::incoming`]($crate::Context::incoming) has to be there.
            #[must_use]
            pub fn reads_body(&self) -> bool {
                let Some(filters) = &self.0 else { return false };
                false $( || filters.$name.as_deref().is_some_and($crate::Filter::reads_body) )*
            }

            fn of(filters: Filters) -> Self {
                let is_empty = !filters.is_refusing $( && filters.$name.is_none() )*;
                Self((!is_empty).then(|| std::sync::Arc::new(filters)))
            }

            /// Runs the request side in list order.
            ///
            /// # Errors
            /// The answer to send to the client now.
            pub async fn request(
                &self,
                req: &mut $crate::Request,
                ctx: &mut $crate::Context,
                state: &mut ChainState,
            ) -> Result<(), $crate::Reply> {
                self.observed(req, ctx, state, |_, _| ()).await
            }

            /// The same, and tells what each filter decides, by its name in the list.
            ///
            /// # Errors
            /// The answer to send to the client now.
            pub async fn observed(
                &self,
                req: &mut $crate::Request,
                ctx: &mut $crate::Context,
                state: &mut ChainState,
                mut told: impl FnMut(&'static str, Result<(), &$crate::Reply>) + Send,
            ) -> Result<(), $crate::Reply> {
                let Some(filters) = &self.0 else { return Ok(()) };
                if filters.is_refusing {
                    // What a client was not told when it should have been let in.
                    let status = http::StatusCode::INTERNAL_SERVER_ERROR;
                    return Err($crate::Reply::new(status, "security_policy_invalid"));
                }
                $(
                    state.ran += 1;
                    if let Some(filter) = &filters.$name {
                        let decided = $crate::Filter::request(&**filter, req, ctx, &mut state.$name).decided().await;
                        told(stringify!($name), decided.as_ref().map(|()| ()));
                        match decided {
                            Ok(()) => {}
                            Err(reply) if $crate::Filter::is_shadow(&**filter) => {
                                ctx.would_deny.push(reply.reason);
                            }
                            Err(reply) => return Err(reply),
                        }
                    }
                )*
                Ok(())
            }

            /// Runs the response side in reverse order, from the last filter that saw the request.
            pub fn response(&self, rsp: &mut $crate::Response, ctx: &$crate::Context, state: &ChainState) {
                let Some(filters) = &self.0 else { return };
                let mut at = 0 $( + { let _ = stringify!($name); 1u8 } )*;
                registry!(@reverse filters rsp ctx state at [] $( $name )*);
                let _ = at;
            }
        }
    };

    (@reverse $filters:ident $rsp:ident $ctx:ident $state:ident $at:ident [$( $done:ident )*] $head:ident $( $tail:ident )*) => {
        registry!(@reverse $filters $rsp $ctx $state $at [$head $( $done )*] $( $tail )*);
    };
    (@reverse $filters:ident $rsp:ident $ctx:ident $state:ident $at:ident [$( $name:ident )*]) => {
        $(
            if $at <= $state.ran && let Some(filter) = &$filters.$name {
                $crate::Filter::response(&**filter, $rsp, $ctx, &$state.$name);
            }
            $at -= 1;
        )*
    };
}
