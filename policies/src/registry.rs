//! The macro behind the ordered list in `lib.rs`: [`PolicySet`](crate::PolicySet) (data) and
//! [`Chain`](crate::Chain) (behaviour) follow from one line per policy.

macro_rules! registry {
    ($( $(#[$doc:meta])* $name:ident : $policy:ty ),* $(,)?) => {
        /// The policies of one rule or one backend, as data.
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct PolicySet { $(
            $(#[$doc])*
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub $name: Option<$policy>,
        )* }

        impl PolicySet {
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

            /// Every Secret and ConfigMap any policy points at.
            #[must_use]
            pub fn objects(&self) -> Vec<&$crate::ObjectRef> {
                let mut refs = Vec::new();
                $( if let Some(policy) = &self.$name { refs.extend($crate::Policy::objects(policy)); } )*
                refs
            }

            /// Compiles every policy that is set.
            ///
            /// # Errors
            /// The first policy that cannot be compiled, with its name.
            pub fn compile(
                &self,
                lookup: &dyn $crate::Lookup,
            ) -> Result<Chain, (&'static str, $crate::Invalid)> {
                if self.is_empty() {
                    return Ok(Chain::default());
                }
                Ok(Chain(Some(Box::new(Filters { $(
                    $name: self.$name.as_ref()
                        .map(|policy| $crate::Policy::compile(policy, lookup)
                            .map_err(|invalid| (stringify!($name), invalid)))
                        .transpose()?
                        .map(Box::new),
                )* }))))
            }
        }

        /// A compiled [`PolicySet`]: immutable, shared by every request of a rule. Dispatch is static. A filter that
        /// is not set costs one pointer and one test, and so does a chain without any: most rules have none.
        #[derive(Debug, Default)]
        pub struct Chain(Option<Box<Filters>>);

        #[derive(Debug)]
        struct Filters { $( $name: Option<Box<<$policy as $crate::Policy>::Filter>>, )* }

        /// What the filters of one [`Chain`] remember of one request.
        #[derive(Debug, Default)]
        pub struct ChainState {
            /// How many filters of the list ran before a reply: only those see the response.
            ran: u8,
            $( $name: <<$policy as $crate::Policy>::Filter as $crate::Filter>::State, )*
        }

        impl Chain {
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
                let Some(filters) = &self.0 else { return Ok(()) };
                $(
                    state.ran += 1;
                    if let Some(filter) = &filters.$name {
                        let decided = match $crate::Filter::request(&**filter, req, ctx, &mut state.$name) {
                            $crate::Verdict::Continue => Ok(()),
                            $crate::Verdict::Reply(reply) => Err(reply),
                            $crate::Verdict::Wait(decision) => decision.await,
                        };
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
