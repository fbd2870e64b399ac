-- how often an app was woken within the last hour, asked by each new leader
create index events_woken on events (at) where kind = 'app.woken';
