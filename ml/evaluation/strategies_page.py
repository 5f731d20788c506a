"""The report's section that compares strategies."""

from typing import Final

STRATEGIES_SECTION: Final = """
{% if model.strategies %}{% set table = model.strategies %}
<h3>Ways to recognise people</h3>
{% if table.rows %}
<div class="wide"><table>
<caption>Each way with the threshold that it would have in use. FNIR at FPIR {{ short(table.target_fpir) }}: what it
would miss with the threshold that names exactly so many of these strangers. Right, wrong name, missed: enrolled
people's photos. Time: to learn, and for one face whose embedding is there, on one thread.</caption>
<thead><tr><th>way</th><th>FNIR at FPIR {{ short(table.target_fpir) }}</th><th>rank 1</th><th>FPIR in use</th>
<th>accuracy</th><th>precision</th><th>recall</th><th>F1</th><th>right</th><th>wrong name</th><th>missed</th>
<th>strangers named</th><th>strangers refused</th><th>s to learn</th><th>µs a search</th></tr></thead>
<tbody>{% for row in table.rows %}
<tr{% if row.is_default %} class="product"{% endif %}><td>{{ row.title }}{{ " (the service)" if row.is_default }}</td>
<td>{{ rate(row.fnir) if row.fnir else "refuses nobody" }}</td><td>{{ rate(row.rank1) }}</td>
<td>{{ rate(row.fpir) }}</td>
{% for name in ("accuracy", "precision", "recall", "f1") %}<td>{{ rate(row[name]) }}</td>{% endfor %}
{% for name in ("n_identified_right", "n_misidentified", "n_missed", "n_strangers_named", "n_strangers_rejected") %}
<td>{{ whole(row.counts[name]) }}</td>{% endfor %}
<td>{{ "–" if row.train_s is none else "%.1f" | format(row.train_s) }}</td><td>{{ whole(row.search_us) }}</td></tr>
{% endfor %}</tbody></table></div>
<ul>{% for row in table.rows %}<li><b>{{ row.title }}</b>. {{ row.note }}</li>{% endfor %}</ul>
{% endif %}
{% for each in table.left_out %}<p>Left out: {{ each.title }}, because {{ each.reason }}.</p>{% endfor %}
{% endif %}
"""
"""Within the page's loop over models, with its helpers."""
