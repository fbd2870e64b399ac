-- Who may write: every write of an agent names the epoch it was elected with, and an older one is refused.
create table leadership (
  id     integer primary key check (id = 1),
  epoch  bigint not null,
  holder text not null,
  since  timestamptz not null default now()
);
insert into leadership (id, epoch, holder) values (1, 0, '');

create table apps (
  id              bigint generated always as identity primary key,
  name            text not null unique,
  host            text not null,
  path            text not null,
  live_version    integer not null,
  pending_version integer,
  -- the last version that answered calls: what a failed update returns to
  good_version    integer,
  -- grows with each declaration: pointers moved by what an older one led to are not written over it
  generation      integer not null default 1,
  created_at      timestamptz not null default now(),
  updated_at      timestamptz not null default now(),
  -- deferred, so that one apply can let two apps change routes with each other
  constraint apps_route unique (host, path) deferrable initially deferred
);

create table versions (
  app_id        bigint not null references apps (id) on delete cascade,
  version       integer not null,
  spec          jsonb not null,
  secrets       jsonb not null,
  image_digest  text,
  source_digest text,
  outcome       text not null default 'declared' check (outcome in ('declared', 'good', 'failed')),
  failure       jsonb,
  timings       jsonb,
  created_at    timestamptz not null default now(),
  created_by    text not null,
  primary key (app_id, version)
);

-- app is a name, not a reference: events outlive their app
create table events (
  id      bigint generated always as identity primary key,
  at      timestamptz not null default now(),
  actor   text not null,
  app     text,
  version integer,
  kind    text not null,
  message text not null
);
create index events_app on events (app, id desc);
