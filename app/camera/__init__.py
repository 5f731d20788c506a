"""The camera client: frames -> visitors -> one capture each -> a spool on disk -> the service, some time.

```
source ─► gate ─► finder ─► tracks ─► visits ─► spool ─► sender
frames   motion   faces    visitors  best view   disk     HTTP
```
Beside that, `heartbeat` tells that the camera is there, and `snapshots` shows what it sees to whoever asks.
Nothing here needs the service's database or settings; the service needs nothing from here.
"""
