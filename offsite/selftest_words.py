"""The remedies that the self-test gives where a decoder's own words name none, and how the field is found in them."""

from __future__ import annotations

import re

FIELD = re.compile(
    r"(?:row \d+: )?(?:column )?(body\.\w+|site|point|factor|time|period|stat|value|flag|kind|start|end|by|id|key)\b"
)
"""The field that a decoder's words begin with."""

REMEDIES = {
    # a row of readings or events
    "missing_field": "give the field",
    "bad_time": "write RFC 3339 with an offset: 2026-11-23T10:00:00+08:00",
    "bad_number": "send a JSON number, not text",
    "not_finite": "leave the reading out if there is no value",
    "bad_period": "use one of realtime, minute, hour, day, month, quarter",
    "bad_name": "use 1 to 128 characters without / and controls",
    "bad_json": "send JSON: one object, an array, or one object a line as application/x-ndjson",
    "bad_csv": "write CSV as RFC 4180 has it, with a header line",
    "bad_arrow": "write an Arrow IPC stream with the columns of a Reading",
    "not_utf8": "send UTF-8",
    "wrong_type": "use the JSON type of the schema (docs/contracts)",
    "wrong_key": "send each site's rows in messages of their own, with the site as key",
    "future_time": "set the clock of the sender",
    "bad_content_type": "set the content type: application/json, application/x-ndjson, text/csv or application/vnd.apache.arrow.stream",
    "unknown_kind": "use a kind of docs/contracts/event.schema.json",
    "end_before_start": "let end follow start, or leave it out",
    # a frame of HJ 212, and the pairs in it
    "noise": "send nothing between frames but CR LF",
    "bad_length": "let the four digits say the bytes of the data segment",
    "bad_crc": "compute the checksum as HJ 212-2017 Annex A has it, or register the device's dialect",
    "bad_structure": "let the data segment end in && before the checksum",
    "too_long": "split the frame with PNUM and PNO",
    "truncated": "send the whole frame",
    "bad_header": "give QN, ST, CN, MN and CP as HJ 212-2017 has them",
    "bad_pair": "write factor-suffix=value, separated by , and ;",
    "no_factor": "put the factor before the suffix: a21026-Rtd",
    "too_many": "a site cannot have so many names; check the factors",
    # a message of a topic
    "oversized": "send smaller batches",
    "bad_key": "use the site id, UTF-8, as the key",
    "wrong_partition": "set the partitioner to murmur2 (librdkafka: partitioner=murmur2)",
    "unregistered": "register the site, then drive the letter again",
    "bad_context": "send one JSON object with a kind (docs/contracts/context.schema.json)",
    "no_content_type": "set the header content-type",
    "empty": "send at least one reading, event or frame",
    # what is taken, but will not do what was meant
    "unknown_site": "register the site (sites.csv)",
    "unknown_point": "register the point (points.csv)",
    "unknown_factor": "register the factor at the point (factors.csv)",
    "unknown_mn": "give a point this MN (points.csv); until then its frames are held",
    "unknown_flag": "use N F M S D C T B; any other makes a value not usable",
    "unit_differs": "send values in the registered unit, or register the wire unit (factors.csv, wire_unit)",
    "interval_differs": "register the interval at which values come (factors.csv, interval_s)",
}
"""Reason → what to do."""
