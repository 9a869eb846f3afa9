//! The kinds of problems in one table: what each is called, its status, where it comes from and what to do. A kind that
//! is in no table can't be made, so the page that explains them misses none.

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident: $slug:literal, $title:literal, $status:literal, $cause:literal, $next:literal;)*) => {
        /// What kind of problem: its type, title and status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(in crate::http) enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// All of them, by status.
            pub(in crate::http) const ALL: &[Self] = &[$(Self::$kind),*];

            /// Its name in `type`, after `urn:relais:problem:`. Stable.
            pub(in crate::http) fn slug(self) -> &'static str {
                match self { $(Self::$kind => $slug,)* }
            }

            /// Its name for people.
            pub(in crate::http) fn title(self) -> &'static str {
                match self { $(Self::$kind => $title,)* }
            }

            /// The status that it is answered with.
            pub(in crate::http) fn status(self) -> u16 {
                match self { $(Self::$kind => $status,)* }
            }

            /// Where it comes from, for people.
            pub(in crate::http) fn cause(self) -> &'static str {
                match self { $(Self::$kind => $cause,)* }
            }

            /// What to do, for people.
            pub(in crate::http) fn next(self) -> &'static str {
                match self { $(Self::$kind => $next,)* }
            }
        }
    };
}

kinds! {
    /// The body is not what the route takes.
    Malformed: "malformed", "malformed request body", 400,
        "The body is empty where one is needed, is no JSON, has something after its end, is nested deeper than 128 \
         levels, or broke off.",
        "Read `detail`, which says where the JSON breaks; send an object, or an array or lines of objects to \
         /v1/jobs:batch.";
    /// A field of the body is wrong.
    InvalidBody: "invalid-body", "invalid request body", 400,
        "The body is JSON, but a field is missing, is not known, or has a value that it can't have. `errors` has each \
         with its JSON pointer, as far as they can be told at once.",
        "Correct each field that `errors` points at. The page of the API says what each may be.";
    /// A query parameter or header is wrong.
    InvalidRequest: "invalid-request", "invalid request", 400,
        "A query parameter is not one of this route, stands twice or has a value that it can't have; or a header or the \
         path has.",
        "Read `detail`: it names the parameter, and what it may be.";
    /// No token, or none that is known.
    Unauthorized: "unauthorized", "an API token is needed", 401,
        "The cluster has API tokens, or the request comes from another machine, and no token was sent; or the one sent \
         is unknown, revoked or expired.",
        "Send `Authorization: Bearer TOKEN`. `relais token create --role admin|submit|read` makes one, on the node's \
         own machine.";
    /// The token does not allow it, or Host or Origin is foreign.
    Forbidden: "forbidden", "not allowed", 403,
        "The token's role is too low for this route; or `Host` is not a name of this node, or `Origin` is another \
         site's, as when a foreign page asks.",
        "Use a token of the role that `detail` names. Behind a proxy, let it pass the node's own name on, or give the \
         node that name with --advertise-http.";
    /// There is no such route.
    NoSuchRoute: "no-such-route", "no such route", 404,
        "Nothing has this path.",
        "The API is under /v1; the page of the API has all paths. A verb is written after a colon: /v1/jobs/ID:cancel.";
    /// There is no such thing.
    NotFound: "not-found", "not found", 404,
        "The route is there, but not the job, group, queue, node, schedule, token or output that the path names. Ended \
         jobs are kept for as long as the retention says.",
        "List what there is, as with GET /v1/jobs. A job's id may be shortened to 4 hex digits or more.";
    /// The route has no such method.
    MethodNotAllowed: "method-not-allowed", "method not allowed", 405,
        "The path is there, but not with this method.",
        "Use one of those in the `Allow` header.";
    /// The client was too slow to send its request.
    TooSlow: "too-slow", "request sent too slowly", 408,
        "The body came slower than 64 kB a second, or a small one took longer than 10 s.",
        "Send it again; a submit under the same Idempotency-Key makes no second job.";
    /// It does not go with the state of things.
    Conflict: "conflict", "conflict with the present state", 409,
        "What is asked does not go with how things are: the job has ended or has not, a lease is over, a unique key is \
         held, a short id fits several jobs (`candidates` has some), or the role can't be handed over.",
        "Look at the thing again, and decide anew. Whoever is told that a lease is over stops that work: nothing of it \
         counts.";
    /// It is too large.
    TooLarge: "too-large", "too large", 413,
        "The body, a payload or the number of jobs of a batch is above the limit that `detail` names.",
        "Put the data where the job can fetch it and name that place, or send the batch in parts.";
    /// The body is of a type that is not taken.
    UnsupportedMediaType: "unsupported-media-type", "unsupported media type", 415,
        "The `Content-Type` is not JSON; or NDJSON to a route that takes one object.",
        "Send `Content-Type: application/json`, as `curl --json` does; to /v1/jobs:batch also application/x-ndjson.";
    /// It depends on a job that is not known.
    NoSuchParent: "no-such-parent", "depends on an unknown job", 422,
        "`depends_on` names a job that is not in the record.",
        "Submit that one first; or both in one batch, where `ref` gives it a name.";
    /// The idempotency key belongs to another body.
    KeyReused: "key-reused", "idempotency key used for another body", 422,
        "Within 24 h another job was submitted under this idempotency key.",
        "Use another key for another job; send just the same body to be answered with the first one.";
    /// Too many wrong tokens.
    TooManyGuesses: "too-many-guesses", "too many wrong tokens", 429,
        "From this address came many requests with wrong tokens. Good tokens are let in all the same.",
        "Correct the token, and wait for as long as `Retry-After` says.";
    /// Something is wrong here.
    Internal: "internal", "internal error", 500,
        "The node came to something that it should not come to.",
        "Look at the node's log, and report it with that and with `detail`.";
    /// There is no dispatcher just now.
    NoDispatcher: "no-dispatcher", "no dispatcher", 503,
        "There is no dispatcher, or this node can't reach it: a failover takes well under a second, but without a \
         majority of voters there is none. A change may have been carried out or not.",
        "Send it again after `Retry-After`, a submit under the same Idempotency-Key. Read with ?consistency=local what \
         this node knows. If it stays so, `relais cluster status` says what is missing.";
    /// This node can't answer just now.
    NotReady: "not-ready", "not ready", 503,
        "This node starts, lags behind, has too many large bodies in hand, or keeps no journal and can't do this.",
        "Ask again soon, or another node. /readyz?verbose has each part.";
    /// What is asked for is on a node out of reach.
    OutOfReach: "out-of-reach", "out of reach", 503,
        "The output is on a node that can't be reached from here.",
        "Ask again when that node is back. The last 4 KiB are in the job's attempts.";
    /// A majority of disks is full.
    DiskFull: "disk-full", "disk full", 507,
        "So many voters have no disk space left that nothing can be stored.",
        "Free some: GET /v1/nodes shows which are limited. Then send it again; what was on its way may have been carried \
         out.";
}
