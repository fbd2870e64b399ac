/** Configures Apache in PHP's official image to serve an app without root. */
import { type PlanCommand, command } from '../plan.ts';

/**
 * Apache replaces `\${PORT}` by the variable when it starts. Without root it may not use a port below 1024.
 * @param root the folder that is served, relative to the tree.
 */
export function apacheCommand(root: string, hasFrontController: boolean): PlanCommand {
  const folder = root === '' ? '/app' : `/app/${root}`;
  const site = [
    'ServerName localhost',
    '<VirtualHost *:${PORT}>',
    `DocumentRoot "${folder}"`,
    `<Directory "${folder}">`,
    'Options FollowSymLinks',
    'AllowOverride All',
    'Require all granted',
    'DirectoryIndex index.php index.html',
    ...(hasFrontController ? ['FallbackResource /index.php'] : []),
    '</Directory>',
    '<LocationMatch "/(\\.(?!well-known/)|vendor/|composer\\.(json|lock)|auth\\.json)">',
    'Require all denied',
    '</LocationMatch>',
    'ErrorLog /dev/stderr',
    '</VirtualHost>',
  ];
  const text = [
    `printf '%s\\n' 'Listen \${PORT}' > /etc/apache2/ports.conf`,
    `printf '%s\\n' ${site.map((line) => `'${line}'`).join(' ')} > /etc/apache2/sites-available/000-default.conf`,
    'a2enmod -q rewrite',
    'cp "$PHP_INI_DIR/php.ini-production" "$PHP_INI_DIR/php.ini"',
  ].join(' && ');
  return { ...command('sh', '-c', text), title: 'configure Apache' };
}

/** A machine without Apache has the web server of PHP itself. */
export function startText(root: string): string {
  const folder = root === '' ? '.' : root;
  return [
    'if command -v apache2-foreground >/dev/null; then exec apache2-foreground; fi',
    `if command -v frankenphp >/dev/null; then exec frankenphp php-server --listen "$HOLDFAST_HOST:$PORT" --root ${folder}; fi`,
    `exec php -S "$HOLDFAST_HOST:$PORT" -t ${folder}`,
  ].join('; ');
}
