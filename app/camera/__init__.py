"""The camera client: frames -> visitors -> one capture each -> a spool on disk -> the service, some time.

```
source ─► gate ─► finder ─► tracks ─► visits ─► spool ─► sender
frames   motion   faces    visitors  best view   disk     HTTP
```
Nothing here needs the service's database or settings; the service needs nothing from here.
"""
