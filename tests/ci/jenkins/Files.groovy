import groovy.io.FileType
import java.nio.file.FileSystems
import java.nio.file.Files as Paths
import java.nio.file.StandardCopyOption

/** What the steps do with files: patterns as Ant has them, separated by commas. */
class Files {
    static List<File> matching(File root, String patterns) {
        def wanted = patterns.split(/\s*,\s*/).findAll().collectMany { one ->
            one.startsWith('**/') ? [one, one.substring(3)] : [one]
        }.collect { FileSystems.default.getPathMatcher('glob:' + it.replaceFirst(/^(\.\/)+/, '')) }
        def found = []
        if (root.exists()) {
            root.eachFileRecurse(FileType.FILES) { file ->
                def path = root.toPath().relativize(file.toPath())
                if (wanted.any { it.matches(path) }) { found << file }
            }
        }
        return found
    }

    static void copyEach(List<File> files, File from, File to) {
        files.each { file ->
            def target = to.toPath().resolve(from.toPath().relativize(file.toPath()))
            target.parent.toFile().mkdirs()
            Paths.copy(file.toPath(), target, StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.COPY_ATTRIBUTES)
        }
    }

    /** What a checkout brings: all that lies there, but what builds and bgci have left. */
    static Object copy(File from, File to) {
        def files = matching(from, '**').findAll { !(it.path =~ /\/(agent-\d+|stashes|bgci-artifacts|env\..*)(\/|$)/) }
        copyEach(files, from, to)
        return null
    }
}
