# The one image of router, agent, builder and CLI: docker build -t holdfast . ; run as `node router/main.ts`, `node agent/main.ts`,
# `node builder/main.ts`, `node cli/main.ts`.
FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# Development tools go from package.json itself: npm ci fetches metadata of every platform build in it, omitted or not.
# Optional dependencies are Node builds for machines with another Node.
RUN npm pkg delete --no-update-notifier devDependencies optionalDependencies \
  && npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund --no-update-notifier --cache /tmp/npm \
  && find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.cts' -o -name '*.d.mts' \) -delete \
  && rm -rf /tmp/npm

FROM node:24-slim AS source
WORKDIR /app
COPY package.json LICENSE* ./
COPY shared shared
COPY router router
COPY agent agent
COPY builder builder
COPY cli cli
# a checkout under a strict umask is readable to its owner only
RUN chmod -R a+rX,go-w .

FROM node:24-slim
# What git sources need. A mirror's node:24-slim may have some of it already, and no way to Debian's packages.
RUN missing=; \
  command -v git >/dev/null || missing="$missing git"; \
  command -v ssh >/dev/null || missing="$missing openssh-client"; \
  [ -s /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"; \
  [ -z "$missing" ] || { apt-get update && apt-get install -y --no-install-recommends $missing && rm -rf /var/lib/apt/lists/*; }
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY --from=source /app ./
RUN install -d -o 1000 -g 1000 .compile-cache
USER 1000:1000
# Compiled code of every module that a start loads, which halves its time; kept apart by the flags of Node. The mains end by themselves: they have no configuration.
ENV NODE_COMPILE_CACHE=/app/.compile-cache
RUN node --max-semi-space-size=4 router/main.ts 2>/dev/null; node agent/main.ts 2>/dev/null; node --optimize-for-size agent/main.ts 2>/dev/null; node agent/images/fetch-context.ts 2>/dev/null; \
  node cli/main.ts --help >/dev/null && node builder/main.ts --help >/dev/null \
  && node --optimize-for-size --input-type=module --eval "await import('/app/agent/compose/kubernetes.ts')"
ENTRYPOINT ["node"]
CMD ["cli/main.ts", "--help"]
