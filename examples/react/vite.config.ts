import { defineConfig } from 'vite'
import { notes } from './server.ts'

// What the built page may load: its own files, nothing inline, nothing from elsewhere.
const policy = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

export default defineConfig({
  // With a server of your own: `server: { proxy: { '/api': 'http://localhost:5000' } }` in place of the plugin.
  plugins: [notes()],
  // 'use client' is meant for others. With @vitejs/plugin-react this line is not needed.
  build: { rolldownOptions: { onwarn: (log, warn) => log.code === 'MODULE_LEVEL_DIRECTIVE' || warn(log) } },
  preview: { headers: { 'content-security-policy': policy } },
})
