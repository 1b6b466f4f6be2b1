/** Pictures of what was measured: SVG whose colours are legible on light and dark grounds alike. */
import { mkdirSync, writeFileSync } from 'node:fs'
import type { Bar } from './report.ts'

const RESULTS = new URL('results/', import.meta.url)

/** Writes what came of a run into bench/results. */
export function save(name: string, text: string): void {
  mkdirSync(RESULTS, { recursive: true })
  writeFileSync(new URL(name, RESULTS), text)
}

export const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

/** `parts` on no ground of their own. Classes: `title`, `axis`; lines `all`, `failed`, `mean`; bars `ours`, `other`. */
export function picture(title: string, width: number, height: number, parts: string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif">
<title>${escaped(title)}</title>
<style>.title{font-size:14px;fill:#57708c}.axis{font-size:11px;fill:#7d8590}.all{fill:none;stroke:#2f81f7;stroke-width:1.2}.failed{fill:none;stroke:#e5534b;stroke-width:1.2}.mean{stroke:#999;stroke-dasharray:4 4}.ours{fill:#2f81f7}.other{fill:#8b949e}</style>
${parts.join('\n')}
</svg>
`
}

/** Panels of bars, one beneath the other. */
export function bars(title: string, charts: { title: string; bars: Bar[] }[]): string {
  const [left, width, row] = [190, 520, 18]
  const parts: string[] = []
  let top = 24
  for (const chart of charts) {
    parts.push(`<text x="8" y="${top}" class="title">${escaped(chart.title)}</text>`)
    const most = Math.max(...chart.bars.map(({ value }) => value || 0), Number.MIN_VALUE)
    for (const [index, { name, value, label, ours }] of chart.bars.entries()) {
      const y = top + 10 + index * row
      const long = Math.max(((value || 0) / most) * width, 1)
      parts.push(
        `<text x="${left - 8}" y="${y + 11}" class="axis" text-anchor="end">${escaped(name)}</text>`,
        `<rect x="${left}" y="${y}" width="${long.toFixed(1)}" height="${row - 4}" class="${ours ? 'ours' : 'other'}"/>`,
        `<text x="${(left + long + 6).toFixed(1)}" y="${y + 11}" class="axis">${escaped(label)}</text>`,
      )
    }
    top += chart.bars.length * row + 48
  }
  return picture(title, left + width + 90, top - 24, parts)
}
